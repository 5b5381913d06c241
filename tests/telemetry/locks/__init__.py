"""Locks that log: the neighbour that telemetry must not deadlock with.

A lock profiler wraps every lock of the process; one that logs what it sees calls into logging, and
so into error capture, in the middle of whatever holds a lock. ``wrapper`` is such a neighbour,
``cell`` a process that holds conversations under it, ``matrix`` starts cells and judges them:

* in ``make test`` each cell of the matrix runs once (``test_locks``);
* ``make locks`` runs each a hundred times (``python -m tests.telemetry.locks --runs 100``).

``calls`` holds a conversation in which nothing may wait for anything, and says what did.

A cell whose remedy is taken away must hang: otherwise the matrix could not fail.
"""
