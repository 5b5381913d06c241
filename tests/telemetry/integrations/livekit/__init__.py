"""The LiveKit integration, with real sessions in this process: no server, no network."""
