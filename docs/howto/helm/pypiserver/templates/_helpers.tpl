{{- define "pypiserver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "pypiserver.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "pypiserver.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pypiserver.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pypiserver.selector" -}}
app.kubernetes.io/name: {{ include "pypiserver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pypiserver.labels" -}}
{{ include "pypiserver.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "pypiserver.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pypiserver.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The secret with the password file; empty when there is none. */}}
{{- define "pypiserver.access.htpasswd_file" -}}
{{- if .Values.auth.secretName -}}
{{- .Values.auth.secretName -}}
{{- else if .Values.auth.credentials -}}
{{- printf "%s-passwords" (include "pypiserver.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* What cannot work is said before anything is installed. */}}
{{- define "pypiserver.check" -}}
{{- $many := or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) -}}
{{- if and .Values.storage.url .Values.persistence.enabled -}}
{{- fail "storage.url and persistence.enabled: packages are in a bucket or in a folder; choose one." -}}
{{- end -}}
{{- if and .Values.storage.url $many (not .Values.catalog.secretName) -}}
{{- fail "storage.url with several pods needs a database they share: set catalog.secretName." -}}
{{- end -}}
{{- if not (or .Values.storage.url .Values.persistence.enabled) -}}
{{- fail "There is no place for packages: set storage.url, or persistence.enabled." -}}
{{- end -}}
{{- end -}}
