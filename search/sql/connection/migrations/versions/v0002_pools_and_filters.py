"""Pools that fail are left out; running trials are counted, not kept; every filter has an index"""

from alembic import op
import sqlalchemy as sa

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('baselines') as batch_op:
        batch_op.add_column(sa.Column('failure', sa.Text(), server_default='', nullable=False))
    with op.batch_alter_table('workers') as batch_op:
        batch_op.drop_column('running')
    for name, columns in {
        'ix_trials_status_seq': ['status', 'seq'],
        'ix_trials_status_fitness': ['status', 'fitness', 'number'],
        'ix_trials_status_step_time': ['status', 'step_time_ms', 'number'],
        'ix_trials_status_parameters': ['status', 'parameters', 'number'],
        'ix_trials_pool': ['pool', 'number'],
    }.items():
        op.create_index(name, 'trials', ['search_id', *columns])
