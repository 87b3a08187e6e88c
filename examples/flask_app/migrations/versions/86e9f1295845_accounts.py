"""accounts"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "86e9f1295845"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "members",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("username_key", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("password_hash", sa.String(length=512), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
        sa.UniqueConstraint("username"),
        sa.UniqueConstraint("username_key"),
    )
    op.create_table(
        "userharbor_permissions",
        sa.Column(
            "permission",
            sa.String(length=255)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mysql"
            ),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("permission"),
        mariadb_engine="InnoDB",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "userharbor_roles",
        sa.Column(
            "role",
            sa.String(length=255)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mysql"
            ),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("role"),
        mariadb_engine="InnoDB",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "userharbor_email_verifications",
        sa.Column(
            "token_hash",
            sa.String(length=128)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=128), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=128), "mysql"
            ),
            nullable=False,
        ),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["username"], ["members.username"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash"),
        mariadb_engine="InnoDB",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_userharbor_email_verifications_username"),
        "userharbor_email_verifications",
        ["username"],
        unique=False,
    )
    op.create_index(
        "uq_userharbor_email_verifications_username",
        "userharbor_email_verifications",
        ["username"],
        unique=True,
    )
    op.create_table(
        "userharbor_password_resets",
        sa.Column(
            "token_hash",
            sa.String(length=128)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=128), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=128), "mysql"
            ),
            nullable=False,
        ),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["username"], ["members.username"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash"),
        mariadb_engine="InnoDB",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_userharbor_password_resets_username"),
        "userharbor_password_resets",
        ["username"],
        unique=False,
    )
    op.create_index(
        "uq_userharbor_password_resets_username",
        "userharbor_password_resets",
        ["username"],
        unique=True,
    )
    op.create_table(
        "userharbor_role_permissions",
        sa.Column(
            "role",
            sa.String(length=255)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mysql"
            ),
            nullable=False,
        ),
        sa.Column(
            "permission",
            sa.String(length=255)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mysql"
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["permission"], ["userharbor_permissions.permission"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["role"], ["userharbor_roles.role"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("role", "permission"),
        mariadb_engine="InnoDB",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_userharbor_role_permissions_permission"),
        "userharbor_role_permissions",
        ["permission"],
        unique=False,
    )
    op.create_table(
        "userharbor_sessions",
        sa.Column(
            "token_hash",
            sa.String(length=128)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=128), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=128), "mysql"
            ),
            nullable=False,
        ),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["username"], ["members.username"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash"),
        mariadb_engine="InnoDB",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_userharbor_sessions_username"), "userharbor_sessions", ["username"], unique=False
    )
    op.create_table(
        "userharbor_user_roles",
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column(
            "role",
            sa.String(length=255)
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mariadb"
            )
            .with_variant(
                mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=255), "mysql"
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["role"], ["userharbor_roles.role"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["username"], ["members.username"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("username", "role"),
        mariadb_engine="InnoDB",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_userharbor_user_roles_role"), "userharbor_user_roles", ["role"], unique=False
    )


def downgrade() -> None:
    op.drop_table("userharbor_user_roles")
    op.drop_table("userharbor_sessions")
    op.drop_table("userharbor_role_permissions")
    op.drop_table("userharbor_password_resets")
    op.drop_table("userharbor_email_verifications")
    op.drop_table("userharbor_roles")
    op.drop_table("userharbor_permissions")
    op.drop_table("members")
