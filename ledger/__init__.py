"""Money, trust and jobs: what Timmy must never forget. No network in here.

Read in this order: ``money`` (units), ``accounts`` (the chart), ``entries`` (how money moves),
``records`` (the rows; beside it ``answers``), ``store`` (the contract), ``schema.sql`` (the rules the
database holds by itself),
``sqlite`` (the contract kept) with ``sqlite_change`` (one fact written), ``sqlite_view`` (what is read),
``sqlite_rows`` (rows to records) and ``writer`` (the thread), ``audit`` (the invariants as queries). Beside them
``migrate`` (older ledgers), ``files`` (where a ledger lies, and its lock) and ``queries`` (SQL out of ``.sql``
files). The first four are pure and may be used by ``timmy_dvm.core``.
"""
