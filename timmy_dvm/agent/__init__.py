"""The agent: what judges and does the work behind one Protocol.

``runner`` is the contract, ``prompts`` what a model is told, ``claude`` the real one, ``offline`` the one
that needs neither key nor network.
"""
