"""A Bitcoin node for a fee: for now a stub of one, and the key to it. No money is moved here."""
