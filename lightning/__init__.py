"""Invoices and payments: every wallet behind one Protocol, and no idea of what a job is.

    errors.py              who must act when something goes wrong
    bech32.py              the checksummed text under BOLT11 and LNURL                       (pure)
    bolt11.py              decode, check and, for simulated wallets, make an invoice         (pure)
    backend.py             the `Lightning` Protocol, its states, and what every new invoice must pass
    simulated.py           a wallet in this process that behaves, and misbehaves on demand
    simulated_state.py     what that wallet knows: the sum of its records                    (pure)
    simulated_node.py      the node that signs its invoices, and a customer who has one too
    journal.py             its memory on disk

One file per real wallet stands beside these. Only the composition root names one of them; everybody else
sees `lightning.backend.Lightning`. Of the other packages this one imports only `ledger.money`.
"""
