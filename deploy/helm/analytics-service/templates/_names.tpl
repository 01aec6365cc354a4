{{/* Names and labels. */}}

{{/* Short enough for the longest name behind it: a CronJob's has 52 characters. */}}
{{- define "analytics-service.fullname" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) -}}
{{- $name = .Values.fullnameOverride | default $name | trunc 37 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]" $name) }}{{ fail (printf "fullnameOverride: must be set to a name that begins with a letter, which services need, and not %s" $name) }}{{ end -}}
{{- $name -}}
{{- end }}

{{- define "analytics-service.serviceAccount" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}{{ fail "serviceAccount.name: must name an account where none is created" }}{{ end -}}
{{- .Values.serviceAccount.name | default (include "analytics-service.fullname" .) -}}
{{- end }}

{{/* What never changes: alerts expect the name as Prometheus's job. */}}
{{- define "analytics-service.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "analytics-service.labels" -}}
{{ include "analytics-service.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Argo CD: before what has no wave, and before the migration (-1). */}}
{{- define "analytics-service.first" -}}
argocd.argoproj.io/sync-wave: "-2"
{{- end }}

{{/* What the migration needs. Helm creates it before all else, Argo CD before its waves. */}}
{{- define "analytics-service.beforeMigration" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: "-10"
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}
