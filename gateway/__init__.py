"""The gateway between referring hospitals and the children's hospital that gives second opinions.

The rooms of the house, and who may import whom: docs/architecture.md.
"""

__version__ = "0.1.0"
