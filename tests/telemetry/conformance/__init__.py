"""The promises of the telemetry layer, each as a small case that asserts the whole tree.

Every case runs in both of Sentry's lifecycles (the ``captured`` fixture is parametrised). The map:

======================  ==========================================================================
``test_tasks``          sibling tasks, conversations side by side, callbacks, event emitters
``test_boundaries``     threads, executors, pools, foreign threads, workers born before
``test_generators``     blocks that an async generator holds while its consumer runs
``test_closing``        the end: any order, any task, spans left open, spans after it
``test_leftovers``      a task that outlives its call
``test_failures``       cancellation at every await, exception groups, errors
``test_origins``        an exception knows the conversation it comes from, whoever reports it
``test_surfacing``      errors that an event loop reports, wherever a task is collected
``test_finalisers``     what finalisers say is never laid to the call they happen to run in
``test_reported_once``  an exception is reported once in each trace, in however many ways
``test_values``         what is handed over says what was so at the moment
``test_memory``         nothing that was delivered keeps a call's memory alive
``test_neighbours``     plain ``sentry_sdk`` calls, other transactions around, continued traces
``test_sentrys_own``    Sentry's own API inside a conversation, and hooks that raise
``test_other_clients``  a library that calls ``sentry_sdk.init``, or brings its own client
``test_feeding``        what delivery does is never delivered
``test_far_ingest``     Sentry far away when a busy process ends
``test_process``        telemetry never initialised, twice, closed, and after a fork
``test_explained``      a span without a conversation: what is said about it, and how often
``test_killed``         processes that are killed
``test_killed``         processes that are killed, and the next start
``test_length``         long conversations, many conversations
``test_content``        what people say stays in the local store
``killed``              those processes, and who kills them
``test_machine``        all of it at random, against a model
``places``              where that happens, and the model
``test_surroundings``   any process at random: options, integrations, loggers, boundaries
``surroundings``        that process, and what is done in it
``hosts``               who does it: two conversations, and what must arrive of them
``calls``               Ada's call and then Bob's, for whatever of hers comes up in his
``forking``             a process that forks
``whole``               what the cases ask: the tree, the counts, Sentry's own view
``without``             takes each remedy away and checks that a case notices (``REMEDIES.md``)
``errors_without``      the remedies for errors that surface late, and for values
``remedy``              what a remedy is
``test_remedies``       ``REMEDIES.md`` is the table that is checked
======================  ==========================================================================
"""
