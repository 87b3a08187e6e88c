"""Jane's account from registration to deletion, on a SQLite file in a temporary folder."""

import tempfile
from pathlib import Path

from sqlalchemy import create_engine, event, func, select
from sqlalchemy.orm import sessionmaker
from userharbor import UserHarbor

from userharbor_sqlalchemy import SQLAlchemyUserStore

FOREIGN_KEYS_ON = "PRAGMA foreign_keys = ON"


class PrintingEmailSender:
    """Stands in for one that sends mail, and keeps the token that the mail would carry."""

    token = ""

    def send_verification(self, username: str, email: str, verification_token: str) -> None:
        self.token = verification_token
        print(f"   mail to {email}: verify your address with {verification_token}")

    def send_password_reset(self, username: str, email: str, reset_token: str) -> None:
        self.token = reset_token
        print(f"   mail to {email}: reset your password with {reset_token}")

    def send_email_verified(self, username: str, email: str) -> None:
        print(f"   mail to {email}: your address is verified")

    def send_password_changed(self, username: str, email: str) -> None:
        print(f"   mail to {email}: your password was changed")

    def send_account_deleted(self, username: str, email: str) -> None:
        print(f"   mail to {email}: your account was deleted")


def main(database: Path) -> None:
    # The engine and the sessions are the application's; the store only borrows connections.
    engine = create_engine(f"sqlite:///{database}")
    # SQLite leaves foreign keys off, and would keep the rows of a user deleted directly.
    event.listen(engine, "connect", lambda connection, _: connection.execute(FOREIGN_KEYS_ON))
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.metadata.create_all(engine)
    print(f"1. The tables are made in {database.name}.")

    sender = PrintingEmailSender()
    harbor = UserHarbor(secret_key="change me", store=store, email_sender=sender)

    harbor.register("Jane", "jane@example.org", "Correct-horse-1")
    print("2. Jane is registered.")

    harbor.verify_email(sender.token)
    print("3. Her e-mail address is verified.")

    session = harbor.login("jane", "Correct-horse-1")
    print(f"4. She is logged in, in lower case, as {harbor.get_current_user(session)}.")
    print(f"   Is her session valid? {harbor.verify_session(session)}")

    harbor.roles.create("editor")
    harbor.permissions.create("articles.write")
    harbor.roles.grant_permission("editor", "articles.write")
    print(f"5. May she write articles? {harbor.has_permission(session, 'articles.write')}")
    harbor.grant_role("jane", "editor")
    print(f"   And as an editor? {harbor.has_permission(session, 'articles.write')}")

    harbor.change_password("Correct-horse-1", "Battery-staple-2", session)
    print(f"6. Her password is changed. Is the old session valid? {harbor.verify_session(session)}")

    harbor.send_password_reset("jane@example.org")
    harbor.reset_password("Paper-clip-3", sender.token)
    print("7. Her password is reset.")

    session = harbor.login("Jane", "Paper-clip-3")
    harbor.logout(session)
    print(f"8. She is logged out. Is her session valid? {harbor.verify_session(session)}")

    session = harbor.login("Jane", "Paper-clip-3")
    harbor.delete_account("Paper-clip-3", session)
    print(f"9. Her account is deleted. Is there a Jane? {store.get_user_by_username('Jane')}")

    print("\nWhat the tables hold now:")
    with engine.connect() as connection:
        for table in store.metadata.sorted_tables:
            rows = connection.scalar(select(func.count()).select_from(table))
            print(f"   {table.name}: {rows}")
    engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "users.db")
