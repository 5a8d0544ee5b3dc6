"""Federations with attackers in them: what each mode of the guard makes of it."""
