"""What telemetry and hostile callers cost: ``python -m tests.bench``.

===============  =================================================================================
``spans``        one span: ours, raw sentry-sdk's, the OpenTelemetry SDK's
``stall``        how long the event loop stands still while a long conversation closes
``requests``     what a traced request costs, over Sentry's own integration
``first_token``  how true a reply's time to first token is
``sessions``     CPU of fifty paced sessions with telemetry on against off; calls per audio frame
``density``      how many calls a core holds, and N processes on one port
``rooms``        what ten silent rooms cost a worker, also against another checkout
``churn``        a process that ten thousand short calls come to: memory, time to the greeting
``hostile``      what a hostile caller costs the others: lag and memory with each, and without
``attackers``    those callers
``away``         Sentry is away for ten minutes: memory, and the time until all has arrived
``moods``        what Sentry in trouble, or the store, adds to the lag of the event loop
``viewer``       server time of the viewer's pages over many conversations
``live``         how soon the viewer has what happens
``compared``     what ``parley compare`` says of real runs
``load``         gateways under load: programs that serve, and that call in real time
``profile``      whose code the time goes to
``stored``       what a conversation takes in the store
``figures``      medians over rounds in which all take turns, and the table
``sink``         somewhere to deliver to
===============  =================================================================================

A benchmark measures and fails nothing: targets are printed, the exit code is 0.
"""
