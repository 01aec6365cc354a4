{{/* What the processes are configured by: settings and references to secrets. */}}

{{/* Sections of config as variables and their values. Numbers by JSON: as Go prints them, 50000000000 would be 5e+10. */}}
{{- define "analytics-service.settings" -}}
{{- range $section, $settings := . }}
{{- range $key, $value := $settings }}
ANALYTICS__{{ upper $section }}__{{ upper $key }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* S3 where a bucket is named; nothing else can be shared by the pods. */}}
{{- define "analytics-service.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if dig "objects" "bucket" "" $config }}{{ $_ := set $config.objects "store" "s3" }}{{ end -}}
{{- toYaml $config -}}
{{- end }}

{{/* A list of root and names of secrets; those without a name of their own are left out. */}}
{{- define "analytics-service.secretVariables" -}}
{{- $variables := dict
  "database" (dict "key" "ANALYTICS__DATABASE__URL")
  "databaseOwner" (dict "key" "ANALYTICS__DATABASE__MIGRATION_URL")
  "broker" (dict "key" "ANALYTICS__BROKER__URL" "streamKey" "ANALYTICS__BROKER__STREAM_URL")
  "cache" (dict "key" "ANALYTICS__CACHE__URL")
  "tokens" (dict "key" "ANALYTICS__AUTH__HS256_SECRET" "previousKey" "ANALYTICS__AUTH__HS256_PREVIOUS_SECRET")
  "consoleIssuer" (dict "key" "ANALYTICS__CONSOLE__OIDC_CLIENT_SECRET")
  "objects" (dict "accessKeyId" "AWS_ACCESS_KEY_ID" "secretAccessKey" "AWS_SECRET_ACCESS_KEY")
  "otlpHeaders" (dict "key" "ANALYTICS__OTLP__HEADERS") -}}
{{- range rest . }}
{{- $secret := index (first $).Values.secrets . }}
{{- range $key, $variable := empty $secret.name | ternary dict (index $variables .) }}
{{- with index $secret $key }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is the same for all connections: variables of PostgreSQL's and of the TLS libraries. */}}
{{- define "analytics-service.tlsVariables" -}}
- name: PGSSLMODE
  value: {{ .Values.postgresql.sslMode }}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
- name: SSL_CERT_FILE
  value: /etc/analytics-service/ca/ca.crt
{{- end }}
{{- end }}

{{/* Settings as a list of variables, for pods that cannot read the service's config map or need not read all of it. */}}
{{- define "analytics-service.settingVariables" -}}
{{- range $name, $value := include "analytics-service.settings" . | fromYaml }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
