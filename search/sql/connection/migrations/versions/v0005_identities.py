"""Keys of leases, and epochs"""

from alembic import op
import sqlalchemy as sa

revision = '0005'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Leases granted before have no key, and go on without one.
    for table in ('trials', 'attempts'):
        key = sa.Column('lease_key', sa.String(length=16), server_default='', nullable=False)
        op.add_column(table, key)
    op.create_table(
        'epochs',
        sa.Column('epoch', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('at', sa.Double(), nullable=False),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('epoch', name='pk_epochs'),
    )
