"""The audit trail: events, chain and heads.

Revision ID: 0001
Revises:
"""

from pathlib import Path

from kubernaut.datastorage.schema import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_script(Path(__file__).with_suffix(".sql"))


def downgrade() -> None:
    """Refuse: going back would delete the audit trail."""
    raise NotImplementedError("an audit trail is not deleted by a migration; restore a backup")
