"""What a ``prometheus.yml`` may hold, all of it: also what has no counterpart here is checked before it is left out.

Models of the receiver and of its discoveries are taken where there are some; those here add what these refuse.
"""
