"""Repeats, rivals, studies and imported trials"""

import json
from typing import Any

from alembic import op
import sqlalchemy as sa

revision = '0003'
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


# The preset of that name as searches from before have it: a search keeps its course.
NANO = {
    'name': 'nano',
    'model_dim': [32, 48, 64],
    'min_layers': 2,
    'max_layers': 8,
    'layers': {
        'attention': {'heads': [2, 3, 4]},
        'feed_forward': {
            'hidden_dim': [96, 128, 192, 256],
            'activation': ['gated_relu', 'gated_gelu', 'relu', 'gelu'],
        },
        'moe': {
            'hidden_dim': [64, 96, 128, 192],
            'activation': ['gated_relu', 'gated_gelu', 'relu', 'gelu'],
            'gating': ['top_2', 'expert_choice'],
            'capacity_factor': [1, 2, 3, 4],
        },
    },
}
SEARCHES = sa.table('searches', sa.column('id'), sa.column('spec'))


def keep_spaces() -> None:
    """Writes out the space of searches that name a preset which has changed since."""
    connection = op.get_bind()
    for key, text in connection.execute(sa.select(SEARCHES.c.id, SEARCHES.c.spec)).all():
        spec = json.loads(text)
        if spec.get('space') == 'nano':
            spec['space'] = NANO
            changed = sa.update(SEARCHES).where(SEARCHES.c.id == key)
            connection.execute(changed.values(spec=json.dumps(spec)))


def upgrade() -> None:
    keep_spaces()
    # Added one by one: a copy of the table of trials would take minutes where there are many.
    for table, columns in COLUMNS.items():
        for name, kind, options in columns:
            op.add_column(table, sa.Column(name, kind, **options))
    op.create_index('ix_searches_parent_id', 'searches', ['parent_id'])
