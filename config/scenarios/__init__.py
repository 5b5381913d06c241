"""The shipped scenarios, and the makers of their callers' audio.

``record``
    Records the callers' speech.
``noises``
    Synthesises a cough and a hum.
"""
