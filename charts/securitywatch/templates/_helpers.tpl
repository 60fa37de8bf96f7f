{{/* Prefix of object names. Short enough for what is put behind it and for the names of pods. */}}
{{- define "securitywatch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "securitywatch.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* Selectors cannot change later: nothing else may come into these. Takes a dict of root and component. */}}
{{- define "securitywatch.selectorLabels" -}}
app.kubernetes.io/name: securitywatch
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Takes a dict of root and, where there are any, component and extra labels. */}}
{{- define "securitywatch.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" "securitywatch"
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/part-of" "securitywatch"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- if .component -}}
{{- $_ := set $own "app.kubernetes.io/component" .component -}}
{{- end -}}
{{- merge $own (.extra | default dict) .root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* The whole reference of an image. Takes a dict of root and image. */}}
{{- define "securitywatch.image" -}}
{{- with .image.registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}:{{ .image.tag | default .root.Chart.AppVersion -}}
{{- with .image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* metadata of a namespaced object. Takes a dict of root, name and, where there are any, component, extra labels
and namespace. */}}
{{- define "securitywatch.metadata" -}}
name: {{ .name | quote }}
namespace: {{ .namespace | default (include "securitywatch.namespace" .root) | quote }}
labels:
  {{- include "securitywatch.labels" . | nindent 2 }}
{{- end -}}

{{/* metadata of a cluster-scoped object. */}}
{{- define "securitywatch.clusterMetadata" -}}
name: {{ .name | quote }}
labels:
  {{- include "securitywatch.labels" . | nindent 2 }}
{{- end -}}
