{{/* What all pods have in common. Kubernetes' restricted pod security, and no token of a service account. */}}

{{- define "analytics-service.pod" -}}
automountServiceAccountToken: false
# Variables of services could be taken for settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.caBundle }}
{{- if and .configMap .secret }}{{ fail "caBundle: a configMap or a secret, not both" }}{{ end }}
{{- if or .configMap .secret }}
volumes:
  - name: ca
    {{- if .configMap }}
    configMap:
      name: {{ .configMap }}
    {{- else }}
    secret:
      secretName: {{ .secret }}
    {{- end }}
      items:
        - key: {{ .key }}
          path: ca.crt
{{- end }}
{{- end }}
{{- end }}

{{- define "analytics-service.container" -}}
name: analytics-service
image: {{ with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
volumeMounts:
  - name: ca
    mountPath: /etc/analytics-service/ca
    readOnly: true
{{- end }}
{{- end }}

{{/* The spec of a job: root, component, name, args, variables, serviceAccount, activeDeadlineSeconds, backoffLimit. By the exit codes of the
service it is not tried again where that cannot help: bad usage (2), or a check that did not hold (3). */}}
{{- define "analytics-service.job" -}}
{{- $root := .root -}}
activeDeadlineSeconds: {{ .activeDeadlineSeconds }}
backoffLimit: {{ .backoffLimit }}
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
    - action: FailJob
      onExitCodes:
        containerName: analytics-service
        operator: In
        values: [2, 3]
template:
  metadata:
    labels:
      {{- include "analytics-service.labels" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  spec:
    {{- include "analytics-service.pod" $root | nindent 4 }}
    serviceAccountName: {{ .serviceAccount }}
    restartPolicy: Never
    # A command may be killed anywhere, and run again.
    terminationGracePeriodSeconds: 10
    containers:
      - {{- include "analytics-service.container" $root | nindent 8 }}
        args: {{ toJson .args }}
        env:
          # Who it was, in the audit log.
          - name: USER
            value: {{ .name }}
          {{- include "analytics-service.tlsVariables" $root | nindent 10 }}
          {{- .variables | nindent 10 }}
        resources:
          {{- toYaml $root.Values.jobResources | nindent 10 }}
{{- end }}
