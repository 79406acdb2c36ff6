"""Set-up and emission: where events begin. Its modules import nothing heavy."""
