"""The two domains of the paper, in the order in which they are numbered."""

DOMAINS = ("speech", "audio")
