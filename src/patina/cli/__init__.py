"""The commands, one file per verb, imported only when used."""
