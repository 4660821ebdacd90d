"""Notes on searches"""

from alembic import op
import sqlalchemy as sa

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'search_notes',
        sa.Column('search_id', sa.String(length=32), nullable=False),
        sa.Column('note', sa.Text(), server_default='', nullable=False),
        sa.Column('archived_at', sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ['search_id'],
            ['searches.id'],
            name='fk_search_notes_search_id',
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('search_id', name='pk_search_notes'),
    )
