#!/usr/bin/env bash
# Holds the deployment files to what their platforms published: schemas of Kubernetes, compose and GitHub, the types of Railway's package, and checkers of
# Dockerfiles, compose files and workflows. Nothing is deployed.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${PSB_TOOLS:-/var/tmp/postgres-s3-backups-tools}
tests/tools.sh deploy npm
bin=$tools/deploy/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo 'Kubernetes: schemas of 1.37, no unknown field'
"$bin/kubernetes-validate" --strict --quiet deploy/kubernetes/*.yaml

echo 'Railway: railway.ts and railway.toml against the types of the package railway'
ln -s "$(realpath "$tools/npm/node_modules")" "$work/node_modules"
cp .railway/railway.ts "$work/railway.ts"
# The sections of railway.toml have the types that a service's build and deploy have in railway.ts.
{
  echo 'import type { BuildConfig, DeployConfig } from "railway/iac";'
  echo 'export const file: { build: BuildConfig; deploy: DeployConfig } ='
  "$bin/python" -c 'import json, sys, tomllib; print(json.dumps(tomllib.load(open("railway.toml", "rb"))))'
} >"$work/toml.ts"
# What both say, they must say alike.
cat >"$work/same.ts" <<'TS'
import assert from "node:assert";
import { createRailwayContext, project as named } from "railway/iac";
import railway from "./railway.js";
import { file } from "./toml.js";

const project = await railway(createRailwayContext({ environment: "production", projectName: "p" }), named);
const [service] = JSON.parse(JSON.stringify(project.resources));
const text = JSON.stringify(service);
for (const [name, value] of [...Object.entries(file.build), ...Object.entries(file.deploy)]) {
  assert(text.includes(`"${name}":${JSON.stringify(value)}`), `${name} is not ${value} in railway.ts: ${text}`);
}
assert.equal(project.resources?.length, 1);
TS
cat >"$work/node.d.ts" <<'TS'
declare module "node:assert" {
  function assert(value: unknown, message?: string): asserts value;
  namespace assert { function equal(a: unknown, b: unknown): void; }
  export default assert;
}
TS
echo '{"type": "module"}' >"$work/package.json"
(cd "$work" && node_modules/.bin/tsc --strict --exactOptionalPropertyTypes --module nodenext --target es2022 --skipLibCheck --outDir out ./*.ts \
  && cp package.json out/ && ln -s ../node_modules out/node_modules && node out/same.js)

echo 'compose: the schema, and every variable has a value'
# The one of the README as well.
sed -n '/^```yaml$/,/^```$/{/^```/d;p}' README.md >"$work/compose.yaml"
grep -q 'env_file: .env' "$work/compose.yaml"
"$bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec docker-compose.yml "$work/compose.yaml"
"$bin/podman-compose" -f docker-compose.yml config >/dev/null 2>"$work/compose.log" || { cat "$work/compose.log"; exit 1; }

echo 'Dockerfile: hadolint'
# Packages are not pinned: a rebuild is to bring the newest minor version of PostgreSQL. Their lists go with the stage.
"$bin/hadolint" --ignore DL3008 --ignore DL3009 Dockerfile

echo 'workflows: the schema, and zizmor'
"$bin/check-jsonschema" --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$bin/check-jsonschema" --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
"$bin/zizmor" --offline --quiet --min-severity medium .github
# The jobs of the gate do together what `make test` does.
gate=$(sed -n 's/^test: needs //p' Makefile)
jobs=$(sed -n 's/.*{part: .*, targets: \(.*\)}$/\1/p' .github/workflows/ci.yml)
diff <(tr ' ' '\n' <<<"$gate" | sort) <(tr ' ' '\n' <<<"$jobs" | sort) || { echo 'ci.yml does not do what make test does'; exit 1; }
echo 'The deployment files fit their platforms.'
