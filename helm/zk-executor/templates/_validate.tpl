{{/* Ends with a sentence at the first value that is missing or contradicts another. */}}
{{- define "zk-executor.validate" -}}
{{- $v := .Values -}}
{{- if not $v.image.repository -}}
{{- fail "image.repository must be set: the image with Airflow and zk-executor; docker/ in the repository builds one." -}}
{{- end -}}
{{- if and (not $v.zookeeper.hosts) (not $v.zookeeper.tryOut.enabled) -}}
{{- fail "zookeeper.hosts must be set: the servers of your ensemble, host:port separated by commas. To try the chart out without one, set zookeeper.tryOut.enabled=true." -}}
{{- end -}}
{{- if and $v.zookeeper.hosts $v.zookeeper.tryOut.enabled -}}
{{- fail "zookeeper.hosts and zookeeper.tryOut.enabled contradict each other: set one of them." -}}
{{- end -}}
{{- $hasFrom := or $v.airflow.envFrom $v.workers.envFrom -}}
{{- if not (or $v.airflow.apiSecretKey.secretName $hasFrom) -}}
{{- fail "airflow.apiSecretKey.secretName must be set: the Secret with [api] secret_key of your Airflow, without which workers can neither serve logs nor read workloads. The official chart's is RELEASE-api-secret-key." -}}
{{- end -}}
{{- if not (or $v.airflow.executionApiUrl $v.airflow.configMap.name $hasFrom) -}}
{{- fail "airflow.executionApiUrl must be set (such as http://airflow-api-server:8080/execution/), or airflow.configMap.name to an airflow.cfg that says it: tasks report there." -}}
{{- end -}}
{{- range $secret := list (list "api" "secret_key" "airflow.apiSecretKey") (list "zk_executor" "encryption_key" "airflow.encryptionKey") (list "zk_executor" "digest_auth" "zookeeper.digestAuth") -}}
{{- if hasKey (default dict (get $v.airflow.config (index $secret 0))) (index $secret 1) -}}
{{- fail (printf "airflow.config.%s.%s is a secret: name the Secret that holds it in %s instead." (index $secret 0) (index $secret 1) (index $secret 2)) -}}
{{- end -}}
{{- end -}}
{{- range $secret := list (list "api_auth" "jwt_secret") (list "database" "sql_alchemy_conn") (list "core" "fernet_key") -}}
{{- if hasKey (default dict (get $v.airflow.config (index $secret 0))) (index $secret 1) -}}
{{- fail (printf "airflow.config.%s.%s is a secret that no worker needs, and every task could read it: leave it out." (index $secret 0) (index $secret 1)) -}}
{{- end -}}
{{- end -}}
{{- if and $v.dags.gitSync.enabled (not $v.dags.gitSync.repo) -}}
{{- fail "dags.gitSync.repo must be set while dags.gitSync.enabled is true." -}}
{{- end -}}
{{- if and $v.dags.gitSync.enabled $v.dags.persistence.existingClaim -}}
{{- fail "dags.gitSync.enabled and dags.persistence.existingClaim contradict each other: DAGs come from one of them." -}}
{{- end -}}
{{- if and $v.dags.gitSync.credentialsSecret $v.dags.gitSync.sshKeySecret -}}
{{- fail "dags.gitSync.credentialsSecret and dags.gitSync.sshKeySecret contradict each other: name one of them." -}}
{{- end -}}
{{- if not (or $v.workers.enableDefault $v.workers.sets) -}}
{{- fail "there would be no workers: set workers.enableDefault=true or name sets in workers.sets." -}}
{{- end -}}
{{- include "zk-executor.validateEnv" (list "airflow" $v.airflow.env) -}}
{{- $names := dict -}}
{{- range (include "zk-executor.sets" . | fromJson).sets -}}
{{- $which := empty .name | not | ternary (printf "workers.sets[%s]" .name) "workers" -}}
{{- if hasKey $names .name -}}
{{- fail (printf "two sets in workers.sets have the name %s." .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- include "zk-executor.validateSet" (list $which . $v.exporter.enabled) -}}
{{- end -}}
{{- end -}}

{{- define "zk-executor.validateSet" -}}
{{- $which := index . 0 -}}
{{- $set := index . 1 -}}
{{- $exporter := index . 2 -}}
{{- with $set -}}
{{- if and .keda.enabled .hpa.enabled -}}
{{- fail (printf "%s.keda.enabled and hpa.enabled contradict each other: one of them scales." $which) -}}
{{- end -}}
{{- range $scaler := list "keda" "hpa" -}}
{{- $one := get $set $scaler -}}
{{- if and $one.enabled (gt (int64 $one.minReplicas) (int64 $one.maxReplicas)) -}}
{{- fail (printf "%s.%s.minReplicas (%v) is more than maxReplicas (%v)." $which $scaler $one.minReplicas $one.maxReplicas) -}}
{{- end -}}
{{- end -}}
{{- if and .hpa.enabled (not .hpa.metrics) -}}
{{- fail (printf "%s.hpa.metrics must be set while hpa.enabled is true, such as an external metric of the depth of the queues." $which) -}}
{{- end -}}
{{- if and .keda.enabled (not .keda.url) (not $exporter) -}}
{{- fail (printf "%s.keda.enabled needs exporter.enabled=true, or keda.url: KEDA asks the exporter." $which) -}}
{{- end -}}
{{- if ne (len (uniq .queues)) (len .queues) -}}
{{- fail (printf "%s.queues names a queue twice." $which) -}}
{{- end -}}
{{- if and (eq .kind "Deployment") .volumeClaimTemplates -}}
{{- fail (printf "%s.volumeClaimTemplates needs %s.kind=StatefulSet: a Deployment's pods have no claims of their own." $which $which) -}}
{{- end -}}
{{- if ne .drainTimeout nil -}}
{{- if gt (addf .drainTimeout .killGrace 5) (float64 .terminationGracePeriodSeconds) -}}
{{- fail (printf "%s.drainTimeout (%v) and killGrace (%v) do not fit into terminationGracePeriodSeconds (%v) with 5 seconds to spare: Kubernetes would kill tasks and the worker before it has reported them." $which .drainTimeout .killGrace .terminationGracePeriodSeconds) -}}
{{- end -}}
{{- else if lt (subf (float64 .terminationGracePeriodSeconds) .killGrace 15) 0.0 -}}
{{- fail (printf "%s.terminationGracePeriodSeconds (%v) must be at least 15 more than killGrace (%v)." $which .terminationGracePeriodSeconds .killGrace) -}}
{{- end -}}
{{- if .podDisruptionBudget.enabled -}}
{{- if and (ne .podDisruptionBudget.minAvailable nil) (ne .podDisruptionBudget.maxUnavailable nil) -}}
{{- fail (printf "%s.podDisruptionBudget: minAvailable and maxUnavailable contradict each other; set one of them to null." $which) -}}
{{- end -}}
{{- if and (eq .podDisruptionBudget.minAvailable nil) (eq .podDisruptionBudget.maxUnavailable nil) -}}
{{- fail (printf "%s.podDisruptionBudget needs minAvailable or maxUnavailable." $which) -}}
{{- end -}}
{{- end -}}
{{- include "zk-executor.validateEnv" (list $which .env) -}}
{{- end -}}
{{- end -}}

{{- define "zk-executor.validateEnv" -}}
{{- $which := index . 0 -}}
{{- range index . 1 -}}
{{- if and (hasKey . "value") (has .name (list "AIRFLOW__API__SECRET_KEY" "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY" "AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH")) -}}
{{- fail (printf "%s.env gives the secret %s in clear: use valueFrom, or the values that name Secrets." $which .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
