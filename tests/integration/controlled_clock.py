"""A database whose clock stands still until a test moves it, for statements that are not changed for that."""

import sqlalchemy

from tomaat.database import connect, migrate

SETUP = """
CREATE SCHEMA controlled;
CREATE TABLE controlled.clock (now timestamptz NOT NULL, started timestamptz NOT NULL);
INSERT INTO controlled.clock VALUES ('2026-01-02 03:04:05+00', '2026-01-01 00:00:00+00');
CREATE FUNCTION controlled.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT now FROM controlled.clock';
CREATE FUNCTION controlled.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT started FROM controlled.clock';
"""


class ControlledClock:
    """Functions of this schema are found before PostgreSQL's own of the same names."""

    def __init__(self, database_url):
        plain = connect(database_url, deadline_seconds=20)
        migrate(plain)
        name = sqlalchemy.make_url(database_url).database
        with plain.connect() as connection:
            connection.execute(sqlalchemy.text(SETUP))
            connection.execute(
                sqlalchemy.text(f"ALTER DATABASE {name} SET search_path = controlled, pg_catalog, public")
            )
        plain.dispose()
        self.database = connect(database_url, deadline_seconds=20, pool_size=20)
        self.now = 0.0
        self.started = -100_000.0

    def run(self, sql, **values):
        with self.database.connect() as connection:
            result = connection.execute(sqlalchemy.text(sql), values)
            return list(result) if result.returns_rows else []

    def pass_seconds(self, seconds):
        """Let time pass for the database."""
        self.now += seconds
        self.run("UPDATE controlled.clock SET now = now + make_interval(secs => :seconds)", seconds=seconds)

    def restart_database(self):
        """Let PostgreSQL have started now."""
        self.started = self.now
        self.run("UPDATE controlled.clock SET started = now")
