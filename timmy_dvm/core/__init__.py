"""Everything that decides. No I/O, no clock, no randomness: the same facts give the same decisions.

Read in this order: ``facts`` (what can happen), ``actions`` (what we can do about it), ``policy`` (what the
operator decides), ``transitions`` (the two state tables), ``case`` (what a decision may look at),
``decide`` (fact in, decision out) and behind it ``asking`` (requests and funding), ``running`` (eval and
work), ``settling`` (the end of a job), ``refunds`` (money on its way back), ``trust`` and ``pricing``.
Beside jobs: ``credit_facts``, ``credit`` (top-ups), ``payouts``, ``forgetting`` and ``questions``.
"""
