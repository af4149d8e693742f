{{- define "zk-executor.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list $ component): what selects the pods of a component. */}}
{{- define "zk-executor.selector" -}}
app.kubernetes.io/name: {{ default "zk-executor" (index . 0).Values.nameOverride | trunc 63 | quote }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* (list $ component): labels of an object. */}}
{{- define "zk-executor.labels" -}}
{{- $ := index . 0 -}}
{{ include "zk-executor.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- with $.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (list $ set): what selects the workers of a set. */}}
{{- define "zk-executor.setSelector" -}}
{{ include "zk-executor.selector" (list (index . 0) "worker") }}
zk-executor/worker-set: {{ default "default" (index . 1).name }}
{{- end -}}

{{/* (list $ set): name of the objects of a set. */}}
{{- define "zk-executor.setName" -}}
{{- $base := printf "%s-worker" (include "zk-executor.fullname" (index . 0)) -}}
{{- with (index . 1).name }}{{ printf "%s-%s" $base . | trunc 63 | trimSuffix "-" }}{{ else }}{{ $base }}{{ end -}}
{{- end -}}

{{/* (list $ set): name of the ServiceAccount of a set. */}}
{{- define "zk-executor.serviceAccountName" -}}
{{- $account := (index . 1).serviceAccount -}}
{{- if $account.name -}}{{ $account.name }}
{{- else if $account.create -}}{{ include "zk-executor.setName" . }}
{{- else -}}default
{{- end -}}
{{- end -}}

{{/* (list base over): base with what over says, as JSON. Maps are merged; an empty map, a list or
anything else replaces, false, 0 and "" included (which is why this is not mergeOverwrite). */}}
{{- define "zk-executor.merged" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- $old := get $result $key -}}
{{- if and $value (kindIs "map" $value) (kindIs "map" $old) -}}
{{- $_ := set $result $key (include "zk-executor.merged" (list $old $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}

{{/* The sets of workers, each complete, as JSON: {"sets": [...]}. That of the defaults has the name "". */}}
{{- define "zk-executor.sets" -}}
{{- $defaults := omit .Values.workers "sets" "enableDefault" -}}
{{- $sets := list -}}
{{- if .Values.workers.enableDefault -}}
{{- $sets = append $sets (merge (dict "name" "") $defaults) -}}
{{- end -}}
{{- range .Values.workers.sets -}}
{{- $sets = append $sets (include "zk-executor.merged" (list $defaults .) | fromJson) -}}
{{- end -}}
{{- toJson (dict "sets" $sets) -}}
{{- end -}}

{{- define "zk-executor.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}
{{- else -}}{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "zk-executor.hosts" -}}
{{- if .Values.zookeeper.tryOut.enabled -}}{{ include "zk-executor.fullname" . }}-zookeeper:2181
{{- else -}}{{ .Values.zookeeper.hosts }}
{{- end -}}
{{- end -}}

{{- define "zk-executor.dagsPath" -}}
{{- default (printf "%s/dags" .Values.airflow.home) .Values.dags.mountPath -}}
{{- end -}}

{{/* A whole number as such: numbers of values are floating, and large ones would be 1e+06. */}}
{{- define "zk-executor.number" -}}
{{- if eq (float64 (int64 .)) (float64 .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}
