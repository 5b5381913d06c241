"""Soak and chaos: ``make soak``. Callers come and go, faults happen, everybody is accounted for.

============  ====================================================================
module        contents
============  ====================================================================
``plan``      the faults, drawn from a seed
``world``     what they are done to: process, store, Sentry, clock, event loop
``callers``   callers who come and go
``gateway``   ``parley serve`` in a process of its own
``child``     that process: fast speech, and a line for orders
``vitals``    leaks: tasks, threads, files, memory
``account``   each conversation, in the store and at Sentry
``run``       all of it, in phases
============  ====================================================================
"""
