"""Repeats, rivals, studies and imported trials"""

from typing import Any

from alembic import op
import sqlalchemy as sa

revision = '0004'
down_revision = '0002'
branch_labels = None
depends_on = None

TEXT = {'server_default': '', 'nullable': False}
COLUMNS: dict[str, list[tuple[str, Any, Any]]] = {
    'searches': [
        ('best_deviation', sa.Double(), {}),
        ('best_repeats', sa.Integer(), {'server_default': '0', 'nullable': False}),
        ('kind', sa.String(length=16), {'server_default': 'search', 'nullable': False}),
        ('parent_id', sa.String(length=32), {}),
        ('plan', sa.Text(), {}),
    ],
    'baselines': [('rival', sa.Text(), {}), ('rival_proxy', sa.Text(), {})],
    'trials': [
        ('repeat', sa.Integer(), {}),
        ('proxy', sa.Text(), {}),
        ('label', sa.String(length=64), TEXT),
        ('imported', sa.Boolean(), {'server_default': sa.text('false'), 'nullable': False}),
    ],
}


def upgrade() -> None:
    # Added one by one: a copy of the table of trials would take minutes where there are many.
    for table, columns in COLUMNS.items():
        for name, kind, options in columns:
            op.add_column(table, sa.Column(name, kind, **options))
    op.create_index('ix_searches_parent_id', 'searches', ['parent_id'])
