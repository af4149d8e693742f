{{/* (list $ set): seconds that tasks get after SIGTERM. */}}
{{- define "zk-executor.drainTimeout" -}}
{{- with index . 1 -}}
{{- if ne .drainTimeout nil -}}
{{- include "zk-executor.number" .drainTimeout -}}
{{- else -}}
{{- include "zk-executor.number" (subf (float64 .terminationGracePeriodSeconds) .killGrace 15) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list $ set): whether a pod of the set has a volume of its own. */}}
{{- define "zk-executor.hasVolume" -}}
{{- $set := index . 1 -}}
{{- if and (eq $set.kind "StatefulSet") $set.persistence.enabled }}true{{ end -}}
{{- end -}}

{{/* (list probe path): a probe of the worker's port. */}}
{{- define "zk-executor.probe" -}}
{{- $path := index . 1 -}}
{{- with index . 0 -}}
httpGet: {path: {{ $path }}, port: worker-logs}
periodSeconds: {{ int64 .periodSeconds }}
timeoutSeconds: {{ int64 .timeoutSeconds }}
failureThreshold: {{ int64 .failureThreshold }}
{{- end }}
{{- end -}}

{{/* (list $ set): a pod of the set. */}}
{{- define "zk-executor.pod" -}}
{{- $ := index . 0 -}}
{{- $set := index . 1 -}}
{{- $name := include "zk-executor.setName" . -}}
{{- $home := $.Values.airflow.home -}}
metadata:
  labels:
    {{- include "zk-executor.labels" (list $ "worker") | nindent 4 }}
    zk-executor/worker-set: {{ default "default" $set.name }}
    {{- with $set.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include (print $.Template.BasePath "/configmap.yaml") $ | sha256sum }}
    kubectl.kubernetes.io/default-container: worker
    {{- if ne $set.safeToEvict nil }}
    cluster-autoscaler.kubernetes.io/safe-to-evict: {{ toString $set.safeToEvict | quote }}
    {{- end }}
    {{- with $set.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "zk-executor.serviceAccountName" . }}
  automountServiceAccountToken: {{ $set.serviceAccount.automountToken }}
  terminationGracePeriodSeconds: {{ int64 $set.terminationGracePeriodSeconds }}
  securityContext: {{- toYaml $set.podSecurityContext | nindent 4 }}
  affinity:
    {{- if $set.affinity }}
    {{- toYaml $set.affinity | nindent 4 }}
    {{- else }}
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels: {{- include "zk-executor.setSelector" . | nindent 16 }}
    {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "topologySpreadConstraints" "hostAliases" }}
  {{- with get $set $key }}
  {{ $key }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- range $key := list "priorityClassName" "runtimeClassName" "schedulerName" }}
  {{- with get $set $key }}
  {{ $key }}: {{ . }}
  {{- end }}
  {{- end }}
  {{- with $.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $fix := and (include "zk-executor.hasVolume" .) $set.persistence.fixPermissions }}
  {{- if or $fix $.Values.dags.gitSync.enabled $set.extraInitContainers }}
  initContainers:
    {{- if $fix }}
    - name: volume-permissions
      image: {{ include "zk-executor.image" $ | quote }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      command: [chown, -R, "{{ include "zk-executor.number" (default 0 $set.podSecurityContext.runAsUser) }}:{{ include "zk-executor.number" (default 0 $set.podSecurityContext.runAsGroup) }}", /data]
      securityContext: {runAsUser: 0, runAsNonRoot: false, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [CHOWN, DAC_OVERRIDE, FOWNER]}}
      volumeMounts:
        - {name: data, mountPath: /data}
    {{- end }}
    {{- if $.Values.dags.gitSync.enabled }}
    {{- include "zk-executor.gitSync" (list $ true) | nindent 4 }}
    {{- end }}
    {{- with $set.extraInitContainers }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: worker
      image: {{ include "zk-executor.image" $ | quote }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      command: {{- tpl (toYaml $set.command) $ | nindent 8 }}
      {{- with $set.args }}
      args: {{- tpl (toYaml .) $ | nindent 8 }}
      {{- end }}
      securityContext: {{- toYaml $set.securityContext | nindent 8 }}
      {{- with $set.lifecycle }}
      lifecycle: {{- tpl (toYaml .) $ | nindent 8 }}
      {{- end }}
      resources: {{- toYaml $set.resources | nindent 8 }}
      {{- if $set.livenessProbe.enabled }}
      livenessProbe: {{- include "zk-executor.probe" (list $set.livenessProbe "/health/live") | nindent 8 }}
      {{- end }}
      {{- if $set.readinessProbe.enabled }}
      readinessProbe: {{- include "zk-executor.probe" (list $set.readinessProbe "/health/ready") | nindent 8 }}
      {{- end }}
      {{- if $set.startupProbe.enabled }}
      startupProbe: {{- include "zk-executor.probe" (list $set.startupProbe "/health/live") | nindent 8 }}
      {{- end }}
      ports:
        - {name: worker-logs, containerPort: {{ int64 $.Values.airflow.workerLogPort }}}
        {{- with $set.extraPorts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with concat $.Values.airflow.envFrom $set.envFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        {{- include "zk-executor.env" $ | nindent 8 }}
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: ZK_WORKER_NAME
          value: $(POD_NAME)
        # By this name the API server asks for logs.
        - name: AIRFLOW__ZK_EXECUTOR__WORKER_HOST
          {{- if eq $set.kind "StatefulSet" }}
          value: $(POD_NAME).{{ $name }}.{{ $.Release.Namespace }}.svc
          {{- else }}
          value: $(POD_IP)
          {{- end }}
        - name: ZK_WORKER_QUEUES
          value: {{ join "," $set.queues | quote }}
        - name: ZK_WORKER_SLOTS
          value: {{ int64 $set.slots | quote }}
        - name: ZK_WORKER_LOG_LEVEL
          value: {{ $set.logLevel }}
        - name: ZK_WORKER_DRAIN_TIMEOUT
          value: {{ include "zk-executor.drainTimeout" . | quote }}
        - name: ZK_WORKER_KILL_GRACE
          value: {{ include "zk-executor.number" $set.killGrace | quote }}
        - name: ZK_WORKER_JOURNAL_DIR
          value: /var/lib/zk-worker
        {{- with $.Values.zookeeper.team }}
        - name: ZK_WORKER_TEAM
          value: {{ . | quote }}
        {{- end }}
        {{- with $set.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumeMounts:
        {{- include "zk-executor.configMounts" $ | nindent 8 }}
        - {name: data, mountPath: /var/lib/zk-worker, subPath: journal}
        {{- include "zk-executor.logsMount" . | nindent 8 }}
        - {name: tmp, mountPath: /tmp}
        {{- if $.Values.dags.persistence.existingClaim }}
        - name: dags
          mountPath: {{ include "zk-executor.dagsPath" $ }}
          {{- with $.Values.dags.persistence.subPath }}
          subPath: {{ . }}
          {{- end }}
          readOnly: true
        {{- else if $.Values.dags.gitSync.enabled }}
        - {name: dags, mountPath: {{ include "zk-executor.dagsPath" $ }}, readOnly: true}
        {{- end }}
        {{- with $set.extraVolumeMounts }}
        {{- tpl (toYaml .) $ | nindent 8 }}
        {{- end }}
    {{- if $.Values.dags.gitSync.enabled }}
    {{- include "zk-executor.gitSync" (list $ false) | nindent 4 }}
    {{- end }}
    {{- if and $set.logGroomer.enabled (not $.Values.logs.persistence.existingClaim) }}
    - name: log-groomer
      image: {{ include "zk-executor.image" $ | quote }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      securityContext: {{- toYaml $set.securityContext | nindent 8 }}
      resources: {{- toYaml $set.logGroomer.resources | nindent 8 }}
      command:
        - sh
        - -c
        # sleep runs beside the shell, so that a signal ends it at once.
        - |
          trap 'exit 0' TERM INT
          while true; do
            find "$LOGS" -type f -mtime +"$RETENTION_DAYS" -delete
            find "$LOGS" -mindepth 1 -type d -empty -mmin +60 -delete
            sleep "$FREQUENCY_SECONDS" & wait $!
          done
      env:
        - name: LOGS
          value: {{ $home }}/logs
        - name: RETENTION_DAYS
          value: {{ int64 $set.logGroomer.retentionDays | quote }}
        - name: FREQUENCY_SECONDS
          value: {{ mul (int64 $set.logGroomer.frequencyMinutes) 60 | quote }}
      volumeMounts:
        {{- include "zk-executor.logsMount" . | nindent 8 }}
    {{- end }}
    {{- with $set.extraContainers }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "zk-executor.configVolume" $ | nindent 4 }}
    - name: tmp
      {{- if $set.tmpSizeLimit }}
      emptyDir: {sizeLimit: {{ $set.tmpSizeLimit }}}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- if not (include "zk-executor.hasVolume" .) }}
    - name: data
      emptyDir: {}
    {{- end }}
    {{- with $.Values.logs.persistence.existingClaim }}
    - name: logs
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
    {{- if $.Values.dags.persistence.existingClaim }}
    - name: dags
      persistentVolumeClaim: {claimName: {{ $.Values.dags.persistence.existingClaim }}}
    {{- else if $.Values.dags.gitSync.enabled }}
    - name: dags
      emptyDir: {}
    {{- if $.Values.dags.gitSync.sshKeySecret }}
    - name: git-sync-ssh-key
      secret: {secretName: {{ $.Values.dags.gitSync.sshKeySecret }}, defaultMode: 288}
    {{- end }}
    {{- if $.Values.dags.gitSync.knownHosts }}
    - name: git-sync-known-hosts
      configMap: {name: {{ include "zk-executor.fullname" $ }}-known-hosts}
    {{- end }}
    {{- end }}
    {{- with $set.extraVolumes }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* (list $ set): the mount of the logs. */}}
{{- define "zk-executor.logsMount" -}}
{{- $home := (index . 0).Values.airflow.home -}}
{{- with (index . 0).Values.logs.persistence -}}
- name: {{ empty .existingClaim | not | ternary "logs" "data" }}
  mountPath: {{ $home }}/logs
  {{- if not .existingClaim }}
  subPath: logs
  {{- else if .subPath }}
  subPath: {{ .subPath }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* (list $ once): the container that keeps the clone of the DAGs up to date, or makes it. */}}
{{- define "zk-executor.gitSync" -}}
{{- $once := index . 1 -}}
{{- with (index . 0).Values.dags.gitSync -}}
- name: git-sync{{ $once | ternary "-init" "" }}
  image: "{{ .image.repository }}:{{ .image.tag }}"
  imagePullPolicy: {{ .image.pullPolicy }}
  securityContext: {{- toYaml .securityContext | nindent 4 }}
  resources: {{- toYaml .resources | nindent 4 }}
  env:
    - {name: GITSYNC_REPO, value: {{ .repo | quote }}}
    - {name: GITSYNC_REF, value: {{ .ref | quote }}}
    - {name: GITSYNC_ROOT, value: /git}
    - {name: GITSYNC_LINK, value: repo}
    - {name: GITSYNC_DEPTH, value: {{ int64 .depth | quote }}}
    - {name: GITSYNC_PERIOD, value: {{ .period | quote }}}
    - {name: GITSYNC_MAX_FAILURES, value: {{ int64 .maxFailures | quote }}}
    - {name: GITSYNC_ADD_USER, value: "true"}
    - {name: GITSYNC_ONE_TIME, value: {{ $once | quote }}}
    {{- if .sshKeySecret }}
    - {name: GITSYNC_SSH_KEY_FILE, value: /etc/git-secret/ssh}
    - {name: GITSYNC_SSH_KNOWN_HOSTS, value: {{ .knownHosts | empty | not | quote }}}
    {{- if .knownHosts }}
    - {name: GITSYNC_SSH_KNOWN_HOSTS_FILE, value: /etc/git-secret/known_hosts}
    {{- end }}
    {{- else if .credentialsSecret }}
    - name: GITSYNC_USERNAME
      valueFrom: {secretKeyRef: {name: {{ .credentialsSecret }}, key: GITSYNC_USERNAME}}
    - name: GITSYNC_PASSWORD
      valueFrom: {secretKeyRef: {name: {{ .credentialsSecret }}, key: GITSYNC_PASSWORD}}
    {{- end }}
    {{- with .env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumeMounts:
    - {name: dags, mountPath: /git}
    - {name: tmp, mountPath: /tmp}
    {{- if .sshKeySecret }}
    - {name: git-sync-ssh-key, mountPath: /etc/git-secret/ssh, subPath: gitSshKey, readOnly: true}
    {{- end }}
    {{- if .knownHosts }}
    - {name: git-sync-known-hosts, mountPath: /etc/git-secret/known_hosts, subPath: known_hosts, readOnly: true}
    {{- end }}
{{- end }}
{{- end -}}
