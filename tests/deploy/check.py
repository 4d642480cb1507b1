"""Holds what is in deploy/ against what will read it: ECS's and S3's own models
(botocore), the schemas of Compose and Kubernetes, systemd, and Kura itself.

    .venv/bin/python tests/deploy/check.py

KURA_BINARY names another kura than that of the debug build.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import botocore.session
import yaml
from botocore.validate import ParamValidator

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KURA = os.environ.get("KURA_BINARY", str(ROOT / "target/debug/kura"))
# By which the time to stop exceeds KURA_GRACE_SECONDS (CONFIGURATION.md).
CLOSING_SECONDS = 8
# What Fargate has for these numbers of CPU units: MiB from, to.
FARGATE = {1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720)}
DEFAULT_GRACE_SECONDS = 25
SECRET = "0123456789abcdef0123456789abcdef"

# Stands for the AWS CLI, and for a task that has stopped.
AWS = """#!/bin/sh
case "$*" in
  *run-task*) echo arn:aws:ecs:ap-northeast-1:111122223333:task/c/1f ;;
  *lastStatus*) echo STOPPED ;;
  *exitCode*) echo "$EXIT_CODE" ;;
  *stoppedReason*) echo "the image cannot be pulled" ;;
  *filter-log-events*) for word; do case $word in *1f) echo "$word" ;; esac; done ;;
  *) exit 99 ;;
esac
"""


def read(path):
    return (DEPLOY / path).read_text()


def load(path):
    return json.loads(read(path))


def shape(service, operation):
    session = botocore.session.get_session()
    return session.get_service_model(service).operation_model(operation).input_shape


def wrong_enums(value, shape, path=""):
    """Values that the model does not list; botocore's validator lets them pass."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from wrong_enums(inner, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for inner in value:
            yield from wrong_enums(inner, shape.member, f"{path}[]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value} is none of {', '.join(shape.enum)}"


def run(*command, **environment):
    environment["PATH"] = os.environ["PATH"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def settings():
    """The settings that Kura knows, from its own help."""
    return set(re.findall(r"\[env: (\w+)\]", run(KURA, "serve", "--help").stdout))


def plugin_settings():
    text = (ROOT / "plugin/redmine_kura/README.md").read_text()
    return set(re.findall(r"^\| `(KURA_\w+)` \|", text, re.M))


def configuration_actions():
    """The actions that CONFIGURATION.md asks for, of both its statements."""
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    section = text.split("## Permissions on S3", 1)[1]
    policy = json.loads(section.split("```json", 1)[1].split("```", 1)[0])
    return actions(policy["Statement"])


def actions(statements):
    found = set()
    for statement in statements:
        action = statement["Action"]
        found.update([action] if isinstance(action, str) else action)
    return found


class Case(unittest.TestCase):
    def assert_model(self, service, operation, parameters):
        model = shape(service, operation)
        report = ParamValidator().validate(parameters, model).generate_report()
        self.assertEqual(report, "")
        self.assertEqual(list(wrong_enums(parameters, model)), [])

    def assert_kura_takes(self, environment):
        known = settings() | {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        self.assertEqual(set(environment) - known, set(), "Kura has no such settings")
        checked = run(KURA, "serve", "--check", **environment)
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def assert_plugin_takes(self, environment):
        names = {name for name in environment if name.startswith("KURA_")}
        self.assertEqual(names - plugin_settings(), set(), "the plugin has no such settings")

    def assert_time_to_stop(self, seconds, environment):
        grace = int(environment.get("KURA_GRACE_SECONDS", DEFAULT_GRACE_SECONDS))
        self.assertGreaterEqual(seconds, grace + CLOSING_SECONDS)


class Ecs(Case):
    definitions = ["ecs/task-definition.json", "ecs/command-task-definition.json"]

    def containers(self, path):
        return {container["name"]: container for container in load(path)["containerDefinitions"]}

    def environment(self, container):
        environment = {pair["name"]: pair["value"] for pair in container.get("environment", [])}
        secrets = {pair["name"]: SECRET for pair in container.get("secrets", [])}
        self.assertFalse(set(environment) & set(secrets))
        return environment | secrets

    def test_task_definitions_are_what_ecs_takes(self):
        for path in self.definitions:
            self.assert_model("ecs", "RegisterTaskDefinition", load(path))

    def test_what_a_task_definition_names_is_there(self):
        for path in self.definitions:
            definition, containers = load(path), self.containers(path)
            volumes = {volume["name"] for volume in definition.get("volumes", [])}
            used = set()
            for container in containers.values():
                for dependency in container.get("dependsOn", []):
                    other = containers[dependency["containerName"]]
                    if dependency["condition"] == "HEALTHY":
                        self.assertIn("healthCheck", other)
                used.update(mount["sourceVolume"] for mount in container.get("mountPoints", []))
                if container["logConfiguration"]["logDriver"] == "awsfirelens":
                    self.assertTrue(any("firelensConfiguration" in c for c in containers.values()))
            self.assertEqual(used, volumes)

    def test_memory_of_the_containers_fits_into_the_task(self):
        for path in self.definitions:
            definition = load(path)
            least, most = FARGATE[int(definition["cpu"])]
            memory = int(definition["memory"])
            self.assertTrue(least <= memory <= most and memory % 1024 == 0)
            parts = [c.get("memory", 0) for c in definition["containerDefinitions"]]
            self.assertLessEqual(sum(parts), memory)

    def test_kura_takes_its_environment(self):
        for path in self.definitions:
            kura = self.containers(path)["kura"]
            environment = self.environment(kura)
            self.assert_kura_takes(environment)
            self.assert_time_to_stop(kura["stopTimeout"], environment)
            self.assertTrue(kura["readonlyRootFilesystem"])

    def test_redmine_waits_for_kura_and_sees_its_cache(self):
        containers = self.containers("ecs/task-definition.json")
        kura, redmine = containers["kura"], containers["redmine"]
        self.assertIn({"containerName": "kura", "condition": "HEALTHY"}, redmine["dependsOn"])
        self.assertEqual(kura["healthCheck"]["command"], ["CMD", "/kura", "healthcheck"])
        environment = self.environment(redmine)
        self.assert_plugin_takes(environment)
        cache = self.environment(kura)["KURA_CACHE_DIR"]
        self.assertEqual(environment["KURA_CACHE_DIR"], cache)
        for container in (kura, redmine):
            self.assertEqual(container["mountPoints"][0]["containerPath"], cache)
            self.assertLessEqual(container["stopTimeout"], 120)

    def test_commands_run_in_containers_that_exist(self):
        environment = {"CLUSTER": "c", "SUBNETS": "subnet-1,subnet-2", "SECURITY_GROUPS": "sg-1"}
        words = ["redmine:x[\"a\\b\"]", "two words", "$HOME"]
        for what, path, name, command in [
            ("kura", "ecs/command-task-definition.json", "kura", words),
            ("rake", "ecs/task-definition.json", "redmine", ["bin/rails", *words]),
        ]:
            printed = run(DEPLOY / "ecs/run", what, *words, DRY_RUN="1", **environment)
            request = json.loads(printed.stdout)
            self.assert_model("ecs", "RunTask", request)
            override = request["overrides"]["containerOverrides"][0]
            self.assertEqual(override, {"name": name, "command": command})
            self.assertEqual(load(path)["family"], request["taskDefinition"])
            self.assertIn(name, self.containers(path))
            self.assertEqual(
                request["networkConfiguration"]["awsvpcConfiguration"]["subnets"],
                ["subnet-1", "subnet-2"],
            )


    def test_command_shows_its_log_and_ends_with_its_exit_code(self):
        with tempfile.TemporaryDirectory() as directory:
            aws = Path(directory, "aws")
            aws.write_text(AWS)
            aws.chmod(0o755)
            environment = {"CLUSTER": "c", "SUBNETS": "s", "SECURITY_GROUPS": "s", "POLL_SECONDS": "0"}
            path = f"{directory}:{os.environ['PATH']}"
            for exit_code, ended in [("3", 3), ("None", 1)]:
                ran = subprocess.run(
                    [DEPLOY / "ecs/run", "kura", "tenant", "list"],
                    env=environment | {"PATH": path, "EXIT_CODE": exit_code},
                    capture_output=True, text=True,
                )
                self.assertEqual((ran.returncode, ran.stdout), (ended, "kura-command/kura/1f\n"))


class Aws(Case):
    def test_roles_allow_what_the_documentation_asks_for(self):
        wanted = configuration_actions()
        for role in ["task", "tenant"]:
            statements = load(f"ecs/{role}-role.json")["Statement"]
            s3 = {action for action in actions(statements) if action.startswith("s3:")}
            self.assertEqual(s3, wanted, role)
        operator = actions(load("ecs/operator-role.json")["Statement"])
        self.assertLessEqual(wanted, operator)

    def test_policies_are_small_enough_and_name_resources_that_are_used(self):
        environment = Ecs().containers("ecs/task-definition.json")["kura"]["environment"]
        environment = {pair["name"]: pair["value"] for pair in environment}
        tenants = environment["KURA_TENANTS"].removeprefix("s3://").partition("/")
        for role in ["task", "operator"]:
            text = read(f"ecs/{role}-role.json")
            # What IAM allows for the inline policies of a role.
            self.assertLess(len(re.sub(r"\s", "", text)), 10240)
            self.assertIn(f'"arn:aws:s3:::{environment["S3_BUCKET_NAME"]}/*"', text)
            self.assertIn(f'"arn:aws:s3:::{tenants[0]}/{tenants[2]}*"', text)
        execution = read("ecs/execution-role.json")
        for path in Ecs.definitions:
            for secret in re.findall(r'"valueFrom": "(.*)-\w{6}"', read(path)):
                self.assertIn(f'"{secret}-??????"', execution)

    def test_s3_takes_the_lifecycle_rules_and_the_bucket_policy(self):
        rules = {"Bucket": "b", "LifecycleConfiguration": load("s3/lifecycle.json")}
        self.assert_model("s3", "PutBucketLifecycleConfiguration", rules)
        for statement in load("s3/bucket-policy.json")["Statement"]:
            self.assertEqual(statement["Effect"], "Deny")


class Compose(Case):
    def test_compose_file_is_what_compose_takes(self):
        schema = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
        checked = run(sys.executable, *schema, str(DEPLOY / "compose/compose.yaml"))
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_services_agree_with_each_other(self):
        compose = yaml.safe_load(read("compose/compose.yaml"))
        services = compose["services"]
        kura, redmine, store = (services[name] for name in ("kura", "redmine", "seaweedfs"))
        filled = {k: re.sub(r"\$\{.*\}", SECRET, v) for k, v in kura["environment"].items()}
        self.assert_kura_takes(filled)
        self.assert_plugin_takes(redmine["environment"])
        self.assert_time_to_stop(int(kura["stop_grace_period"].removesuffix("s")), filled)
        self.assertEqual(store["environment"]["S3_BUCKET"], filled["S3_BUCKET_NAME"])
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self.assertEqual(store["environment"][name], kura["environment"][name])
        port = filled["KURA_LISTEN"].rpartition(":")[2]
        self.assertEqual(redmine["environment"]["KURA_URL"], f"http://kura:{port}")
        sources = [ROOT / "deploy/compose" / kura["build"]]
        sources += [ROOT / "deploy/compose" / redmine["volumes"][0].split(":")[0]]
        for source in sources:
            self.assertTrue(source.is_dir(), source)


class Kubernetes(Case):
    def test_objects_are_what_kubernetes_takes(self):
        # 1.29 is the first that has sidecars without a feature gate.
        for version in ["1.29", "1.34"]:
            checked = run(
                sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet",
                "-k", version, str(DEPLOY / "kubernetes/redmine.yaml"),
            )
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_sidecar_has_what_kura_needs(self):
        objects = list(yaml.safe_load_all(read("kubernetes/redmine.yaml")))
        deployment = next(o for o in objects if o["kind"] == "Deployment")
        secrets = {o["metadata"]["name"]: o["stringData"] for o in objects if o["kind"] == "Secret"}
        pod = deployment["spec"]["template"]["spec"]
        kura, redmine = pod["initContainers"][0], pod["containers"][0]
        self.assertEqual(kura["restartPolicy"], "Always")
        environments = []
        for container in (kura, redmine):
            environment = {}
            for pair in container["env"]:
                source = pair.get("valueFrom", {}).get("secretKeyRef")
                if source:
                    self.assertIn(source["key"], secrets[source["name"]])
                environment[pair["name"]] = pair.get("value", SECRET)
            environments.append(environment)
            volumes = {volume["name"] for volume in pod["volumes"]}
            self.assertLessEqual({m["name"] for m in container["volumeMounts"]}, volumes)
        self.assert_kura_takes(environments[0])
        self.assert_plugin_takes(environments[1])
        self.assert_time_to_stop(pod["terminationGracePeriodSeconds"], environments[0])


class Systemd(Case):
    unit = DEPLOY / "systemd/kura.service"

    def test_unit_agrees_with_kura(self):
        text = self.unit.read_text()
        line = re.search(r"^Environment=(.*)$", text, re.M).group(1)
        environment = dict(pair.split("=", 1) for pair in line.split())
        self.assert_kura_takes(environment)
        seconds = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M).group(1))
        self.assert_time_to_stop(seconds, environment)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd")
    def test_unit_is_what_systemd_takes(self):
        copy = ROOT / "target/kura.service"
        copy.write_text(self.unit.read_text().replace("/usr/local/bin/kura", KURA))
        checked = run("systemd-analyze", "verify", str(copy))
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))


class Image(Case):
    def test_dockerfile_agrees_with_the_rest(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        version = re.search(r'channel = "(.*)"', (ROOT / "rust-toolchain.toml").read_text())
        self.assertIn(f"ARG RUST={version.group(1)}\n", dockerfile)
        volumes = json.loads(re.search(r"^VOLUME (.*)$", dockerfile, re.M).group(1))
        self.assertIn("/var/cache/kura", volumes)
        user = re.search(r"^USER (\d+):", dockerfile, re.M).group(1)
        self.assertIn(f"runAsUser: {user}\n", read("kubernetes/redmine.yaml"))
        self.assert_kura_takes(dict([re.search(r"^ENV (KURA_STORE)=(.*)$", dockerfile, re.M).groups()]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
