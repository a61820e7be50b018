-- A small app's data: 2,000 users, 8,000 matches, 40,000 messages. The same rows each time.
\set ON_ERROR_STOP on
\set QUIET on
SELECT setseed(0.42) \g /dev/null

CREATE TYPE match_state AS ENUM ('pending', 'accepted', 'blocked');

CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text NOT NULL UNIQUE,
  name text NOT NULL,
  born date NOT NULL,
  bio text,
  interests text[] NOT NULL DEFAULT '{}',
  settings jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL
);
COMMENT ON TABLE users IS 'People; e-mail addresses are personal data';

CREATE TABLE matches (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  one bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  other bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  state match_state NOT NULL DEFAULT 'pending',
  score double precision NOT NULL,
  created_at timestamptz NOT NULL,
  CHECK (one <> other)
);

CREATE TABLE messages (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  match bigint NOT NULL REFERENCES matches ON DELETE CASCADE,
  sender bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  body text NOT NULL,
  length integer GENERATED ALWAYS AS (char_length(body)) STORED,
  sent_at timestamptz NOT NULL
);

INSERT INTO users (email, name, born, bio, interests, settings, created_at)
SELECT
  lower(first) || '.' || lower(last) || '.' || i || '@example.com',
  first || ' ' || last,
  date '1975-01-01' + (random() * 11000)::integer,
  CASE WHEN i % 5 > 0 THEN first || E' likes long walks.\nAsk me about "' || (ARRAY['sourdough', 'climbing', 'old maps', 'Łódź', '🐘'])[1 + i % 5] || '".' END,
  (ARRAY['books', 'music', 'cooking', 'running', 'film'])[1:i % 6],
  jsonb_build_object('theme', (ARRAY['dark', 'light'])[1 + i % 2], 'radius_km', 5 * (1 + i % 20), 'push', i % 3 = 0),
  timestamptz '2025-01-01 00:00+00' + i * interval '4 hours'
FROM (
  SELECT i,
    (ARRAY['Ada', 'Zoë', 'Björn', 'Chloé', 'Dmitri', 'Elif', 'Farid', 'Grace', 'Håkon', 'Inês'])[1 + (random() * 9)::integer] AS first,
    (ARRAY['Okafor', 'Müller', 'O''Neil', 'Nguyễn', 'Silva', 'Kowalski', 'Haddad', 'Yamada'])[1 + (random() * 7)::integer] AS last
  FROM generate_series(1, 2000) i
) people;

INSERT INTO matches (one, other, state, score, created_at)
SELECT one, 1 + (one + step - 1) % 2000, (ARRAY['pending', 'accepted', 'accepted', 'blocked'])[1 + i % 4]::match_state,
  random(), timestamptz '2025-06-01 00:00+00' + i * interval '50 minutes'
FROM (SELECT i, 1 + (random() * 1999)::bigint AS one, 1 + (random() * 1998)::bigint AS step FROM generate_series(1, 8000) i) pairs;

INSERT INTO messages (match, sender, body, sent_at)
SELECT m.id, CASE WHEN random() < 0.5 THEN m.one ELSE m.other END,
  (SELECT string_agg((ARRAY['hi', 'you', 'coffee', 'tomorrow', 'why not', 'maybe?', 'ha', '🙂', 'the', 'park', 'see', 'at eight', E'\n'])[1 + (random() * 12)::integer], ' ')
   FROM generate_series(1, 3 + m.id % 12 + n)),
  m.created_at + n * interval '7 minutes'
FROM matches m CROSS JOIN generate_series(1, 5) n;

CREATE INDEX ON messages (match, sent_at);
CREATE VIEW conversations AS
  SELECT match, count(*) AS messages, max(sent_at) AS newest FROM messages GROUP BY match;
ANALYZE;
