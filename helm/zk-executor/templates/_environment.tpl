{{/* Environment of every container of the Airflow image. No secret is in it, only references. */}}
{{- define "zk-executor.env" -}}
- name: AIRFLOW_HOME
  value: {{ .Values.airflow.home | quote }}
- name: AIRFLOW__CORE__DAGS_FOLDER
  value: {{ include "zk-executor.dagsFolder" . | quote }}
{{- if .Values.airflow.executionApiUrl }}
- name: AIRFLOW__CORE__EXECUTION_API_SERVER_URL
  value: {{ .Values.airflow.executionApiUrl | quote }}
{{- end }}
- name: AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT
  value: {{ .Values.airflow.workerLogPort | quote }}
- name: AIRFLOW__ZK_EXECUTOR__HOSTS
  value: {{ include "zk-executor.hosts" . | quote }}
- name: AIRFLOW__ZK_EXECUTOR__ROOT
  value: {{ .Values.zookeeper.root | quote }}
{{- if ne .Values.zookeeper.sessionTimeout nil }}
- name: AIRFLOW__ZK_EXECUTOR__SESSION_TIMEOUT
  value: {{ include "zk-executor.number" .Values.zookeeper.sessionTimeout | quote }}
{{- end }}
{{- with .Values.zookeeper.digestAuth }}
{{- if .secretName }}
- name: AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH
  valueFrom:
    secretKeyRef: {name: {{ .secretName }}, key: {{ .secretKey }}}
{{- end }}
{{- end }}
{{- with .Values.airflow.apiSecretKey }}
{{- if .secretName }}
- name: AIRFLOW__API__SECRET_KEY
  valueFrom:
    secretKeyRef: {name: {{ .secretName }}, key: {{ .secretKey }}}
{{- end }}
{{- end }}
{{- with .Values.airflow.encryptionKey }}
{{- if .secretName }}
- name: AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY
  valueFrom:
    secretKeyRef: {name: {{ .secretName }}, key: {{ .secretKey }}}
{{- end }}
{{- end }}
# Signs no token; empty, it is not taken from an airflow.cfg either.
- name: AIRFLOW__API_AUTH__JWT_SECRET
  value: ""
# The images' entry point waits for databases and brokers with this; a worker has neither.
- name: CONNECTION_CHECK_MAX_COUNT
  value: "0"
{{- range $section, $options := .Values.airflow.config }}
{{- range $option, $value := $options }}
- name: {{ printf "AIRFLOW__%s__%s" (upper $section) (upper $option) }}
  {{- if kindIs "float64" $value }}
  value: {{ include "zk-executor.number" $value | quote }}
  {{- else if kindIs "bool" $value }}
  value: {{ $value | ternary "True" "False" | quote }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- with .Values.airflow.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "zk-executor.dagsFolder" -}}
{{- $path := include "zk-executor.dagsPath" . -}}
{{- if .Values.dags.gitSync.enabled -}}
{{- printf "%s/repo/%s" $path .Values.dags.gitSync.subPath | trimSuffix "/" -}}
{{- else -}}
{{- $path -}}
{{- end -}}
{{- end -}}

{{/* Mounts of airflow.cfg. */}}
{{- define "zk-executor.configMounts" -}}
{{- $map := .Values.airflow.configMap -}}
- name: config
  mountPath: {{ .Values.airflow.home }}/airflow.cfg
  subPath: {{ empty $map.name | not | ternary $map.key "airflow.cfg" }}
  readOnly: true
{{- if and $map.name $map.localSettingsKey }}
- name: config
  mountPath: {{ .Values.airflow.home }}/config/airflow_local_settings.py
  subPath: {{ $map.localSettingsKey }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "zk-executor.configVolume" -}}
- name: config
  configMap:
    name: {{ default (printf "%s-config" (include "zk-executor.fullname" .)) .Values.airflow.configMap.name }}
{{- end -}}
