"""Sessions of browsers"""

from alembic import op
import sqlalchemy as sa

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'sessions',
        sa.Column('secret_hash', sa.String(length=64), nullable=False),
        sa.Column('token_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('expires_at', sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ['token_id'], ['tokens.id'], name='fk_sessions_token_id_tokens', ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('secret_hash', name='pk_sessions'),
    )
    op.create_index('ix_sessions_token', 'sessions', ['token_id', 'created_at'])
