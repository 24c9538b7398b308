"""Money, trust and jobs: what Timmy must never forget. No network in here.

Read in this order: ``money`` (units), ``accounts`` (the chart), ``entries`` (how money moves),
``records`` (the rows), ``store`` (the contract), ``sqlite`` (the contract kept), ``audit`` (the
invariants as queries). The first four are pure and may be used by ``timmy_dvm.core``.
"""
