"""Owns what the server is told of a connection, and what a pool does with one that comes back.

Must not be left out where a transaction takes locks: a process that is frozen keeps its connection
open, and only the server can then let the others go on.
"""


def session_settings(application: str, transaction_s: float) -> dict[str, str]:
    """Settings under which the server ends a session whose transaction lasts too long.

    That is measured from BEGIN and includes waiting for the client, but for one that stops in the
    middle of a COPY; no COMMIT is cut short. A client whose machine is gone is noticed in 25 s.
    Source: PostgreSQL 18, `transaction_timeout`, `tcp_keepalives_idle`.
    """
    return {
        "application_name": application,
        "transaction_timeout": str(round(transaction_s * 1000)),
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }


async def leave_as_it_is(_connection: object) -> None:
    """What a pool does with a connection that comes back, beside ending a transaction left open.

    The driver's own reset is a round trip after each use, and puts back what is never changed here:
    settings are set for a session at its start, or for one transaction.
    """
