# SPDX-License-Identifier: Apache-2.0
"""For each value of the chart: another than the default, and what it changes in the manifests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rendering import Values

WORKER = "spec.template.spec.containers[worker]"
POD = "spec.template.spec"
LABELS = "spec.template.metadata.labels"
ANNOTATIONS = "spec.template.metadata.annotations"
RESOURCES = {"limits": {"memory": "3Gi"}}
CONTEXT = {"runAsUser": 4321}
GIT: Values = {"dags": {"gitSync": {"enabled": True, "repo": "https://git.example.org/dags"}}}
SSH: Values = {"dags": {"gitSync": {**GIT["dags"]["gitSync"], "sshKeySecret": "key"}}}
TRY: Values = {"zookeeper": {"hosts": "", "tryOut": {"enabled": True}}}
DEPLOYMENT: Values = {"workers": {"kind": "Deployment"}}
PDB: Values = {"workers": {"podDisruptionBudget": {"enabled": True}}}
CFG: Values = {"airflow": {"configMap": {"name": "airflow-config"}}}
POLICY: Values = {"networkPolicy": {"enabled": True}}
KEDA: Values = {"workers": {"keda": {"enabled": True}}}
TRIGGER = "spec.triggers[0].metadata"
HPA_KIND = "HorizontalPodAutoscaler"
HPA_METRICS: Values = {"workers": {"hpa": {"metrics": [{"type": "External"}]}}}
HPA: Values = {"workers": {"hpa": {"enabled": True, "metrics": [{"type": "External"}]}}}
EXPORTER: dict[str, Any] = {"kind": "Deployment", "name": "-exporter"}
EXPORTER_POD = "spec.template.spec.containers[exporter]"
GROOMER = f"{POD}.containers[log-groomer]"
GIT_SYNC = f"{POD}.containers[git-sync]"
SERVER = f"{POD}.containers[zookeeper]"


@dataclass(frozen=True)
class Change:
    """With base and value at its path, kind (whose name ends with name) has expected at where."""

    path: str
    value: Any
    where: str
    expected: Any
    kind: str = "StatefulSet"
    name: str = "-worker"
    base: Values = field(default_factory=dict)


def _env(name: str) -> str:
    return f"{WORKER}.env[{name}].value"


def _same(path: str, value: Any, where: str, **more: Any) -> Change:
    return Change(path, value, where, value, **more)


def _probe(name: str) -> list[Change]:
    return [
        Change(f"workers.{name}.enabled", False, f"{WORKER}.{name}", None),
        *(
            _same(f"workers.{name}.{key}", 77, f"{WORKER}.{name}.{key}")
            for key in ("periodSeconds", "timeoutSeconds", "failureThreshold")
        ),
    ]


def _secret(path: str, variable: str, base: Values | None = None) -> list[Change]:
    where = f"{WORKER}.env[{variable}].valueFrom.secretKeyRef"
    section, _, name = path.partition(".")
    named: Values = {section: {name: {"secretName": "a-secret"}}}
    return [
        _same(f"{path}.secretName", "other", f"{where}.name"),
        _same(f"{path}.secretKey", "other", f"{where}.key", base=base or named),
    ]


def _monitor(key: str, kind: str, interval: str, name: str = "") -> list[Change]:
    path, base = f"monitoring.{key}", {"monitoring": {key: {"enabled": True}}}
    found = [
        Change(f"{path}.enabled", True, "kind", kind, kind, name),
        Change(
            f"{path}.labels", {"release": "p"}, "metadata.labels.release", "p", kind, name, base
        ),
    ]
    if interval:
        found.append(Change(f"{path}.interval", "3s", interval, "3s", kind, name, base))
    return found


CHANGES: list[Change] = [
    Change("nameOverride", "zk", "metadata.name", "rel-zk-worker", name=""),
    Change("fullnameOverride", "fleet", "metadata.name", "fleet-worker", name=""),
    Change("labels", {"owner": "data"}, "metadata.labels.owner", "data"),
    Change("image.repository", "r/i", f"{WORKER}.image", "r/i:0.1.0"),
    Change("image.tag", "9", f"{WORKER}.image", "localhost/airflow-zk-executor:9"),
    Change(
        "image.digest", "sha256:ab", f"{WORKER}.image", "localhost/airflow-zk-executor@sha256:ab"
    ),
    _same("image.pullPolicy", "Always", f"{WORKER}.imagePullPolicy"),
    _same("imagePullSecrets", [{"name": "registry"}], f"{POD}.imagePullSecrets"),
    _same("zookeeper.hosts", "a:1,b:2", _env("AIRFLOW__ZK_EXECUTOR__HOSTS")),
    _same("zookeeper.root", "/other", _env("AIRFLOW__ZK_EXECUTOR__ROOT")),
    _same("zookeeper.team", "blue", _env("ZK_WORKER_TEAM")),
    Change("zookeeper.sessionTimeout", 22.5, _env("AIRFLOW__ZK_EXECUTOR__SESSION_TIMEOUT"), "22.5"),
    *_secret("zookeeper.digestAuth", "AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH"),
    Change(
        "zookeeper.tryOut.enabled",
        True,
        _env("AIRFLOW__ZK_EXECUTOR__HOSTS"),
        "rel-zk-executor-zookeeper:2181",
        base={"zookeeper": {"hosts": ""}},
    ),
    Change(
        "zookeeper.tryOut.image.repository",
        "z",
        f"{SERVER}.image",
        "z:3.9",
        name="keeper",
        base=TRY,
    ),
    Change(
        "zookeeper.tryOut.image.tag", "4", f"{SERVER}.image", "zookeeper:4", name="keeper", base=TRY
    ),
    _same(
        "zookeeper.tryOut.image.pullPolicy",
        "Never",
        f"{SERVER}.imagePullPolicy",
        name="keeper",
        base=TRY,
    ),
    _same("zookeeper.tryOut.resources", RESOURCES, f"{SERVER}.resources", name="keeper", base=TRY),
    _same(
        "zookeeper.tryOut.storage",
        "3Gi",
        "spec.volumeClaimTemplates[0].spec.resources.requests.storage",
        name="keeper",
        base=TRY,
    ),
    Change(
        "zookeeper.tryOut.podSecurityContext.runAsUser",
        4321,
        f"{POD}.securityContext.runAsUser",
        4321,
        name="keeper",
        base=TRY,
    ),
    Change("airflow.home", "/af", f"{WORKER}.volumeMounts[config].mountPath", "/af/airflow.cfg"),
    _same(
        "airflow.executionApiUrl", "http://a/e/", _env("AIRFLOW__CORE__EXECUTION_API_SERVER_URL")
    ),
    _same("airflow.workerLogPort", 8899, f"{WORKER}.ports[worker-logs].containerPort"),
    _same("airflow.configMap.name", "cfg", f"{POD}.volumes[config].configMap.name"),
    _same("airflow.configMap.key", "c", f"{WORKER}.volumeMounts[config].subPath", base=CFG),
    _same(
        "airflow.configMap.localSettingsKey", "l.py", f"{WORKER}.volumeMounts[1].subPath", base=CFG
    ),
    *_secret("airflow.apiSecretKey", "AIRFLOW__API__SECRET_KEY"),
    *_secret("airflow.encryptionKey", "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY"),
    Change(
        "airflow.config",
        {"core": {"parallelism": 2000000}},
        _env("AIRFLOW__CORE__PARALLELISM"),
        "2000000",
    ),
    Change("airflow.env", [{"name": "A", "value": "b"}], _env("A"), "b"),
    _same("airflow.envFrom", [{"secretRef": {"name": "x"}}], f"{WORKER}.envFrom"),
    Change(
        "dags.mountPath",
        "/code",
        f"{WORKER}.volumeMounts[dags].mountPath",
        "/code",
        base={"dags": {"persistence": {"existingClaim": "c"}}},
    ),
    _same(
        "dags.persistence.existingClaim",
        "c",
        f"{POD}.volumes[dags].persistentVolumeClaim.claimName",
    ),
    _same(
        "dags.persistence.subPath",
        "prod",
        f"{WORKER}.volumeMounts[dags].subPath",
        base={"dags": {"persistence": {"existingClaim": "c"}}},
    ),
    Change(
        "dags.gitSync.enabled",
        True,
        _env("AIRFLOW__CORE__DAGS_FOLDER"),
        "/opt/airflow/dags/repo",
        base={"dags": {"gitSync": {"repo": "r"}}},
    ),
    _same("dags.gitSync.repo", "r2", f"{GIT_SYNC}.env[GITSYNC_REPO].value", base=GIT),
    _same("dags.gitSync.ref", "v1", f"{GIT_SYNC}.env[GITSYNC_REF].value", base=GIT),
    Change(
        "dags.gitSync.subPath",
        "a/b",
        _env("AIRFLOW__CORE__DAGS_FOLDER"),
        "/opt/airflow/dags/repo/a/b",
        base=GIT,
    ),
    Change("dags.gitSync.depth", 0, f"{GIT_SYNC}.env[GITSYNC_DEPTH].value", "0", base=GIT),
    _same("dags.gitSync.period", "3s", f"{GIT_SYNC}.env[GITSYNC_PERIOD].value", base=GIT),
    Change(
        "dags.gitSync.maxFailures",
        -1,
        f"{GIT_SYNC}.env[GITSYNC_MAX_FAILURES].value",
        "-1",
        base=GIT,
    ),
    _same(
        "dags.gitSync.credentialsSecret",
        "git",
        f"{GIT_SYNC}.env[GITSYNC_PASSWORD].valueFrom.secretKeyRef.name",
        base=GIT,
    ),
    _same(
        "dags.gitSync.sshKeySecret",
        "k2",
        f"{POD}.volumes[git-sync-ssh-key].secret.secretName",
        base=GIT,
    ),
    Change(
        "dags.gitSync.knownHosts",
        "h k",
        f"{GIT_SYNC}.env[GITSYNC_SSH_KNOWN_HOSTS].value",
        "true",
        base=SSH,
    ),
    Change("dags.gitSync.image.repository", "g", f"{GIT_SYNC}.image", "g:v4.4.2", base=GIT),
    Change(
        "dags.gitSync.image.tag",
        "v5",
        f"{GIT_SYNC}.image",
        "registry.k8s.io/git-sync/git-sync:v5",
        base=GIT,
    ),
    _same("dags.gitSync.image.pullPolicy", "Always", f"{GIT_SYNC}.imagePullPolicy", base=GIT),
    Change(
        "dags.gitSync.env", [{"name": "A", "value": "b"}], f"{GIT_SYNC}.env[A].value", "b", base=GIT
    ),
    _same("dags.gitSync.resources", RESOURCES, f"{GIT_SYNC}.resources", base=GIT),
    Change(
        "dags.gitSync.securityContext.runAsUser",
        4321,
        f"{GIT_SYNC}.securityContext.runAsUser",
        4321,
        base=GIT,
    ),
    _same(
        "logs.persistence.existingClaim",
        "l",
        f"{POD}.volumes[logs].persistentVolumeClaim.claimName",
    ),
    _same(
        "logs.persistence.subPath",
        "s",
        f"{WORKER}.volumeMounts[logs].subPath",
        base={"logs": {"persistence": {"existingClaim": "l"}}},
    ),
    Change(
        "workers.enableDefault",
        False,
        "metadata.name",
        "rel-zk-executor-worker-a",
        name="",
        base={"workers": {"sets": [{"name": "a"}]}},
    ),
    Change("workers.sets", [{"name": "a", "slots": 3}], _env("ZK_WORKER_SLOTS"), "3", name="-a"),
    Change(
        "workers.kind",
        "Deployment",
        _env("AIRFLOW__ZK_EXECUTOR__WORKER_HOST"),
        "$(POD_IP)",
        kind="Deployment",
    ),
    _same("workers.replicas", 7, "spec.replicas"),
    Change("workers.queues", ["a", "b"], _env("ZK_WORKER_QUEUES"), "a,b"),
    Change("workers.slots", 2048, _env("ZK_WORKER_SLOTS"), "2048"),
    _same("workers.logLevel", "debug", _env("ZK_WORKER_LOG_LEVEL")),
    Change("workers.drainTimeout", 12.5, _env("ZK_WORKER_DRAIN_TIMEOUT"), "12.5"),
    Change("workers.killGrace", 25, _env("ZK_WORKER_KILL_GRACE"), "25"),
    Change("workers.killGrace", 25, _env("ZK_WORKER_DRAIN_TIMEOUT"), "560"),
    Change(
        "workers.terminationGracePeriodSeconds", 2000000, _env("ZK_WORKER_DRAIN_TIMEOUT"), "1999975"
    ),
    Change("workers.command", ["{{ .Release.Name }}"], f"{WORKER}.command", ["rel"]),
    Change("workers.args", ["{{ .Release.Name }}"], f"{WORKER}.args", ["rel"]),
    _same("workers.resources", RESOURCES, f"{WORKER}.resources"),
    Change("workers.env", [{"name": "A", "value": "b"}], _env("A"), "b"),
    _same("workers.envFrom", [{"secretRef": {"name": "x"}}], f"{WORKER}.envFrom"),
    *_probe("livenessProbe"),
    *_probe("readinessProbe"),
    *_probe("startupProbe"),
    _same("workers.updateStrategy", {"type": "OnDelete"}, "spec.updateStrategy"),
    Change(
        "workers.strategy.type",
        "Recreate",
        "spec.strategy.type",
        "Recreate",
        kind="Deployment",
        base=DEPLOYMENT,
    ),
    _same("workers.podManagementPolicy", "OrderedReady", "spec.podManagementPolicy"),
    _same("workers.revisionHistoryLimit", 3, "spec.revisionHistoryLimit"),
    _same("workers.minReadySeconds", 3, "spec.minReadySeconds"),
    Change("workers.persistence.enabled", False, f"{POD}.volumes[data].emptyDir", {}),
    _same(
        "workers.persistence.size",
        "1Ti",
        "spec.volumeClaimTemplates[0].spec.resources.requests.storage",
    ),
    _same(
        "workers.persistence.storageClassName",
        "s",
        "spec.volumeClaimTemplates[0].spec.storageClassName",
    ),
    _same(
        "workers.persistence.accessModes",
        ["ReadWriteOncePod"],
        "spec.volumeClaimTemplates[0].spec.accessModes",
    ),
    _same(
        "workers.persistence.annotations",
        {"a": "b"},
        "spec.volumeClaimTemplates[0].metadata.annotations",
    ),
    _same(
        "workers.persistence.retentionPolicy",
        {"whenScaled": "Delete"},
        "spec.persistentVolumeClaimRetentionPolicy",
    ),
    Change(
        "workers.persistence.fixPermissions",
        True,
        f"{POD}.initContainers[volume-permissions].command",
        ["chown", "-R", "50000:0", "/data"],
    ),
    Change(
        "workers.volumeClaimTemplates",
        [{"metadata": {"name": "x"}, "spec": {}}],
        "spec.volumeClaimTemplates[1].metadata.name",
        "x",
    ),
    _same("workers.tmpSizeLimit", "1Gi", f"{POD}.volumes[tmp].emptyDir.sizeLimit"),
    Change(
        "workers.podDisruptionBudget.enabled",
        True,
        "spec.maxUnavailable",
        1,
        kind="PodDisruptionBudget",
    ),
    _same(
        "workers.podDisruptionBudget.minAvailable",
        "50%",
        "spec.minAvailable",
        kind="PodDisruptionBudget",
        base={"workers": {"podDisruptionBudget": {"enabled": True, "maxUnavailable": None}}},
    ),
    _same(
        "workers.podDisruptionBudget.maxUnavailable",
        "50%",
        "spec.maxUnavailable",
        kind="PodDisruptionBudget",
        base=PDB,
    ),
    Change("workers.serviceAccount.create", False, f"{POD}.serviceAccountName", "default"),
    _same("workers.serviceAccount.name", "me", f"{POD}.serviceAccountName"),
    _same(
        "workers.serviceAccount.annotations",
        {"a": "b"},
        "metadata.annotations",
        kind="ServiceAccount",
    ),
    _same("workers.serviceAccount.automountToken", True, f"{POD}.automountServiceAccountToken"),
    Change("workers.podSecurityContext.runAsUser", 4321, f"{POD}.securityContext.runAsUser", 4321),
    Change("workers.securityContext.runAsUser", 4321, f"{WORKER}.securityContext.runAsUser", 4321),
    Change(
        "workers.lifecycle",
        {"preStop": {"exec": {"command": ["{{ .Release.Name }}"]}}},
        f"{WORKER}.lifecycle.preStop.exec.command",
        ["rel"],
    ),
    Change(
        "workers.safeToEvict",
        True,
        f"{ANNOTATIONS}.cluster-autoscaler~kubernetes~io/safe-to-evict",
        "true",
    ),
    _same("workers.nodeSelector", {"a": "b"}, f"{POD}.nodeSelector"),
    _same("workers.affinity", {"podAffinity": {}}, f"{POD}.affinity"),
    _same("workers.tolerations", [{"operator": "Exists"}], f"{POD}.tolerations"),
    _same(
        "workers.topologySpreadConstraints", [{"maxSkew": 1}], f"{POD}.topologySpreadConstraints"
    ),
    _same("workers.priorityClassName", "p", f"{POD}.priorityClassName"),
    _same("workers.runtimeClassName", "r", f"{POD}.runtimeClassName"),
    _same("workers.schedulerName", "s", f"{POD}.schedulerName"),
    _same("workers.hostAliases", [{"ip": "1.2.3.4"}], f"{POD}.hostAliases"),
    _same("workers.annotations", {"a": "b"}, "metadata.annotations"),
    Change("workers.podAnnotations", {"a": "b"}, f"{ANNOTATIONS}.a", "b"),
    Change("workers.podLabels", {"a": "b"}, f"{LABELS}.a", "b"),
    Change(
        "workers.extraContainers",
        [{"name": "x", "image": "{{ .Release.Name }}"}],
        f"{POD}.containers[x].image",
        "rel",
    ),
    Change(
        "workers.extraInitContainers",
        [{"name": "x", "image": "{{ .Release.Name }}"}],
        f"{POD}.initContainers[x].image",
        "rel",
    ),
    Change(
        "workers.extraVolumes",
        [{"name": "x", "secret": {"secretName": "{{ .Release.Name }}"}}],
        f"{POD}.volumes[x].secret.secretName",
        "rel",
    ),
    Change(
        "workers.extraVolumeMounts",
        [{"name": "x", "mountPath": "/{{ .Release.Name }}"}],
        f"{WORKER}.volumeMounts[x].mountPath",
        "/rel",
    ),
    Change(
        "workers.extraPorts",
        [{"name": "x", "containerPort": 1}],
        f"{WORKER}.ports[x].containerPort",
        1,
    ),
    Change("workers.logGroomer.enabled", False, GROOMER, None),
    Change("workers.logGroomer.retentionDays", 3, f"{GROOMER}.env[RETENTION_DAYS].value", "3"),
    Change(
        "workers.logGroomer.frequencyMinutes", 3, f"{GROOMER}.env[FREQUENCY_SECONDS].value", "180"
    ),
    _same("workers.logGroomer.resources", RESOURCES, f"{GROOMER}.resources"),
    Change("workers.keda.enabled", True, "spec.minReplicaCount", 0, kind="ScaledObject"),
    _same("workers.keda.minReplicas", 2, "spec.minReplicaCount", kind="ScaledObject", base=KEDA),
    _same("workers.keda.maxReplicas", 7, "spec.maxReplicaCount", kind="ScaledObject", base=KEDA),
    Change(
        "workers.keda.targetLoad", 4.5, f"{TRIGGER}.targetValue", "4.5", "ScaledObject", base=KEDA
    ),
    _same(
        "workers.keda.pollingInterval", 9, "spec.pollingInterval", kind="ScaledObject", base=KEDA
    ),
    _same("workers.keda.cooldownPeriod", 9, "spec.cooldownPeriod", kind="ScaledObject", base=KEDA),
    Change(
        "workers.keda.url",
        "http://e:1",
        f"{TRIGGER}.url",
        "http://e:1/scale?queue=default",
        "ScaledObject",
        base=KEDA,
    ),
    _same("workers.keda.advanced", {"a": 1}, "spec.advanced", kind="ScaledObject", base=KEDA),
    Change("workers.hpa.enabled", True, "spec.minReplicas", 1, HPA_KIND, base=HPA_METRICS),
    _same("workers.hpa.minReplicas", 2, "spec.minReplicas", kind=HPA_KIND, base=HPA),
    _same("workers.hpa.maxReplicas", 7, "spec.maxReplicas", kind=HPA_KIND, base=HPA),
    _same("workers.hpa.metrics", [{"type": "Pods"}], "spec.metrics", kind=HPA_KIND, base=HPA),
    _same("workers.hpa.behavior", {"scaleUp": {}}, "spec.behavior", kind=HPA_KIND, base=HPA),
    Change("exporter.enabled", False, "metadata.name", "rel-zk-executor-worker", "Service", ""),
    _same("exporter.replicas", 2, "spec.replicas", **EXPORTER),
    _same("exporter.port", 9000, f"{EXPORTER_POD}.ports[http].containerPort", **EXPORTER),
    Change("exporter.interval", 2.5, f"{EXPORTER_POD}.command[4]", "--interval=2.5", **EXPORTER),
    Change("exporter.timeout", 2.5, f"{EXPORTER_POD}.command[5]", "--timeout=2.5", **EXPORTER),
    _same("exporter.resources", RESOURCES, f"{EXPORTER_POD}.resources", **EXPORTER),
    Change("exporter.podAnnotations", {"a": "b"}, f"{ANNOTATIONS}.a", "b", **EXPORTER),
    _same("exporter.nodeSelector", {"a": "b"}, f"{POD}.nodeSelector", **EXPORTER),
    _same("exporter.affinity", {"podAffinity": {}}, f"{POD}.affinity", **EXPORTER),
    _same("exporter.tolerations", [{"operator": "Exists"}], f"{POD}.tolerations", **EXPORTER),
    *_monitor("podMonitor", "PodMonitor", "spec.podMetricsEndpoints[0].interval"),
    *_monitor("serviceMonitor", "ServiceMonitor", "spec.endpoints[0].interval"),
    *_monitor("prometheusRule", "PrometheusRule", ""),
    Change(
        "monitoring.prometheusRule.runbookBaseUrl",
        "https://wiki",
        "spec.groups[0].rules[0].annotations.runbook_url",
        "https://wiki/no-worker-for-queue.md",
        "PrometheusRule",
        "",
        {"monitoring": {"prometheusRule": {"enabled": True}}},
    ),
    *_monitor("dashboards", "ConfigMap", "", name="-dashboards"),
    Change(
        "networkPolicy.enabled",
        True,
        "spec.ingress[0].ports[0].port",
        8793,
        kind="NetworkPolicy",
    ),
    _same(
        "networkPolicy.ingressFrom",
        [{"podSelector": {}}],
        "spec.ingress[0].from",
        kind="NetworkPolicy",
        base=POLICY,
    ),
    Change(
        "networkPolicy.egress",
        [{}],
        "spec.policyTypes[1]",
        "Egress",
        kind="NetworkPolicy",
        base=POLICY,
    ),
    Change(
        "test.timeoutSeconds",
        5,
        "spec.containers[test].env[TIMEOUT_SECONDS].value",
        "5",
        kind="Pod",
        name="-test",
    ),
]
