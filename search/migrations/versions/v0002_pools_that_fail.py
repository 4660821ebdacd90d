"""A pool whose baseline cannot run is left out; running trials of a worker are counted, not kept"""

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
