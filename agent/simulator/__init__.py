"""Scripted callers with real speech, which hold the whole worker to account.

==========================  =====================================================================
:mod:`.run`                 many calls side by side, each judged when it is over
:mod:`.scenario`            a caller's script: the models of a YAML file
:mod:`.expect`              its expectations of a turn
:mod:`.document`            reads YAML as a person does
:mod:`.loading`             reads one: errors with the file and the line of text; the JSON schema
:mod:`.caller`              one call: follows the scenario
:mod:`.caller_trace`        its own side of the trace, above the conversation
:mod:`.audio`               speech, and the samples of a frame that can be heard
:mod:`.sentence`            all that is said in one turn: recordings, with pauses between them
:mod:`.recording`           reads recordings of any kind
:mod:`.microphone`          sends a frame every 20 ms, speech or silence
:mod:`.impairment`          the line between caller and agent: noise, loss, lateness, echo
:mod:`.concealment`         fills in for frames that the line lost
:mod:`.hearing`             sorts the agent's audio and messages into turns and speeches
:mod:`.voice`               stretches of voice, and where two of them overlap
:mod:`.interruption`        the effect of a turn on the agent's speech
:mod:`.check_turns`         holds each turn against its expectations
:mod:`.check_reservations`  holds the reservations book against the scenario
:mod:`.check_history`       holds the trace against the history that LiveKit keeps
:mod:`.check_trace`         holds the trace against the scenario, the call and itself
:mod:`.check_audio`         holds the trace against the audio
:mod:`.responses`           response latencies as telemetry tells them
:mod:`.record_tree`         the spans of a record as a tree
:mod:`.report`              the results, and the figures computed from them
:mod:`.report_json`         the report as JSON
:mod:`.two_runs`            what differs between two reports
:mod:`.tuning`              which way of finding the end of a turn is best, from their reports
:mod:`.junit`               the report for CI systems
:mod:`.display`             the report on a terminal
==========================  =====================================================================
"""

from agent.simulator.caller import Connect
from agent.simulator.display import render, watch
from agent.simulator.impairment import Conditions
from agent.simulator.junit import junit
from agent.simulator.loading import (
    ScenarioError,
    find_scenarios,
    folder_beside,
    load_scenario,
    scenario_files,
    schema,
)
from agent.simulator.report import AGREEMENT_MS, CallResult, Progress, Report, TurnResult
from agent.simulator.report_json import as_json
from agent.simulator.run import Load, Simulation
from agent.simulator.scenario import Scenario
from agent.simulator.two_runs import compare_runs
from agent.simulator.two_runs import read as read_run

__all__ = [
    "AGREEMENT_MS",
    "CallResult",
    "Conditions",
    "Connect",
    "Load",
    "Progress",
    "Report",
    "Scenario",
    "ScenarioError",
    "Simulation",
    "TurnResult",
    "as_json",
    "compare_runs",
    "find_scenarios",
    "folder_beside",
    "junit",
    "load_scenario",
    "read_run",
    "render",
    "scenario_files",
    "schema",
    "watch",
]
