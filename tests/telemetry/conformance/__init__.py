"""The promises of the telemetry layer, each as a small case that asserts the whole tree.

Every case runs in both of Sentry's lifecycles (the ``captured`` fixture is parametrised). The map:

===============  ===================================================================================
``test_tasks``       sibling tasks, conversations side by side, callbacks, event emitters
``test_boundaries``  threads, executors, pools, foreign threads, workers born before
``test_generators``  blocks that an async generator holds while its consumer runs
``test_closing``     the end: any order, any task, spans left open, spans after it
``test_failures``    cancellation at every await, exception groups, errors
``test_neighbours``  plain ``sentry_sdk`` calls, other transactions around, continued traces
``test_process``     telemetry never initialised, twice, closed, and after a fork
``test_explained``   a span without a conversation: what is said about it, and how often
``test_length``      long conversations, many conversations
``test_content``     what people say stays in the local store
``test_machine``     all of it at random, against a model
``test_surroundings`` any process at random: options, integrations, loggers, boundaries
``surroundings``     that process, and the two conversations in it
``places``           where that happens, and the model
``whole``            what the cases ask: the tree, the counts, Sentry's own view
``without``          takes each remedy away and checks that a case notices (``REMEDIES.md``)
===============  ===================================================================================
"""
