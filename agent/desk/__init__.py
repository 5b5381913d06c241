"""The example: the front desk of a restaurant. The piece you replace to make Parley yours.

=================  =============================================================================
``agent``          :class:`FrontDesk`: instructions, greeting, function tools
``manager``        :class:`Manager`: takes complaints and large parties, by handoff
``toolkit``        the common part of both agents' tools
``client``         :class:`Reservations`: the tools' way to the reservations service
``reservations``   the service: :func:`create_app`, :func:`serve`
``limits``         the size, the time and the number of what is asked of it
``house``          the restaurant: opening hours, seats
``ledger``         the reservations book, in SQLite
``wire``           the JSON that service, client and tools exchange
``script``         :class:`DeskScript`: the stand-in for a language model
``dialogue``       the state of a call, as one frozen value
``understanding``  the meaning of a caller's words
``speech``         dates, times and numbers in words
=================  =============================================================================

With a language model of your own you need ``agent`` and its tools only; ``script``, ``dialogue``
and ``understanding`` are there so that the example runs with no account and no key.
"""

from agent.desk.agent import FrontDesk
from agent.desk.client import Reservations, ReservationsError
from agent.desk.house import COPPER_KETTLE, House
from agent.desk.ledger import ServiceError
from agent.desk.manager import Manager
from agent.desk.reservations import Faults, create_app, serve
from agent.desk.script import DeskScript

__all__ = [
    "COPPER_KETTLE",
    "DeskScript",
    "Faults",
    "FrontDesk",
    "House",
    "Manager",
    "Reservations",
    "ReservationsError",
    "ServiceError",
    "create_app",
    "serve",
]
