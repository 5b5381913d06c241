"""Scripted callers with real speech, which hold the whole worker to account.

====================  ===========================================================================
:mod:`.scenario`      what a caller says and expects: the models of a YAML file
:mod:`.expect`        what it expects of a turn
:mod:`.loading`       reading one: errors with the file and the line; the JSON schema for editors
:mod:`.audio`         recordings, and which samples of a frame can be heard
:mod:`.impairment`    what the line does to the caller's audio
:mod:`.microphone`    sends a frame every 20 ms, speech or silence
:mod:`.hearing`       sorts what arrives into turns and speeches, as they are heard
:mod:`.voice`         stretches of voice, and where two of them overlap
:mod:`.caller`        one call: follows the scenario
:mod:`.traced`        its own side of the trace, above the conversation
:mod:`.unmet`         its turns, held against what was expected of them
:mod:`.booked`        its reservations, likewise
:mod:`.truth`         what happened from the audio, and whether the trace tells the same
:mod:`.verdict`       whether a conversation's trace is complete and true
:mod:`.run`           many calls side by side, and their traces
:mod:`.report`        what came of it
:mod:`.written`       the same as JSON
:mod:`.junit`         the same for CI systems
:mod:`.display`       the same on a terminal
====================  ===========================================================================
"""

from agent.simulator.caller import Connect
from agent.simulator.display import render, watch
from agent.simulator.impairment import Conditions
from agent.simulator.junit import junit
from agent.simulator.loading import ScenarioError, find_scenarios, load_scenario, schema
from agent.simulator.report import AGREEMENT_MS, CallResult, Progress, Report, TurnResult
from agent.simulator.run import Load, Simulation
from agent.simulator.scenario import Scenario
from agent.simulator.written import as_json

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
    "find_scenarios",
    "junit",
    "load_scenario",
    "render",
    "schema",
    "watch",
]
