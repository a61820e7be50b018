// The service in Railway's Infrastructure as Code, the successor of railway.toml, which Railway reads until 2026-12-01 only.
//
//   npm install --no-save railway && railway link && railway config plan && railway config apply
//
// A service that railway.toml manages must be taken out of its hands first: docs/railway.md says how. This was checked against the
// types of the package `railway` 3.11.0.
import { defineRailway, github, preserve, project, service } from "railway/iac";

// This file owns the service below and nothing else: what is in the project besides it, the database above all, stays as it is.
export const partial = "postgres-s3-backups";

export default defineRailway((context) => {
  const backups = service("postgres-s3-backups", {
    // Your own copy of this repository; or image("ghcr.io/OWNER/postgres-s3-backups:0.1.0"), without `build`.
    source: github("OWNER/postgres-s3-backups"),
    build: { builder: "DOCKERFILE", dockerfilePath: "Dockerfile" },
    deploy: {
      // Asked at each deploy only, under a host name that is always answered with 200; monitors get the truth.
      healthcheckPath: "/health",
      healthcheckTimeout: 60,
      restartPolicyType: "ON_FAILURE",
      restartPolicyMaxRetries: 10,
      // Time for a run to abort its upload after SIGTERM; Railway's default is 0.
      drainingSeconds: 10,
      overlapSeconds: 0,
      // Each replica would make every backup, and a service that sleeps misses its due times.
      numReplicas: 1,
      sleepApplication: false,
    },
    env: {
      // The name of your database's service. With PgBouncer: ${{Postgres.DATABASE_UNPOOLED_URL}}.
      BACKUP_DATABASE_URL: "${{Postgres.DATABASE_URL}}",
      BACKUP_CRON_SCHEDULE: "0 3 * * *",
      RAILWAY_DEPLOYMENT_DRAINING_SECONDS: "10",
      // Set these once in the dashboard, sealed; their values never stand in a file.
      AWS_ACCESS_KEY_ID: preserve(),
      AWS_SECRET_ACCESS_KEY: preserve(),
      AWS_S3_BUCKET: preserve(),
      AWS_S3_ENDPOINT: preserve(),
    },
  });

  return project(context.projectName ?? "project", { resources: [backups] });
});
