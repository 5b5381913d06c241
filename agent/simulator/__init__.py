"""Scripted callers with real speech, which hold the whole worker to account.

====================  ===========================================================================
:mod:`.scenario`      what a caller says and expects: YAML, validated with the file and the line
:mod:`.audio`         recordings, and which samples of a frame can be heard
:mod:`.microphone`    sends a frame every 20 ms, speech or silence
:mod:`.hearing`       sorts what arrives into turns, and finds the first audible sample of a reply
:mod:`.caller`        one call: follows the scenario, checks what was expected
:mod:`.verdict`       whether a conversation's trace is complete and true
:mod:`.run`           many calls side by side, and their traces
:mod:`.report`        what came of it, as values and as JSON
:mod:`.display`       the same on a terminal
====================  ===========================================================================
"""

from agent.simulator.display import render, watch
from agent.simulator.loading import ScenarioError, find_scenarios, load_scenario, schema
from agent.simulator.report import CallResult, Progress, Report, TurnResult
from agent.simulator.run import simulate
from agent.simulator.scenario import Scenario

__all__ = [
    "CallResult",
    "Progress",
    "Report",
    "Scenario",
    "ScenarioError",
    "TurnResult",
    "find_scenarios",
    "load_scenario",
    "render",
    "schema",
    "simulate",
    "watch",
]
