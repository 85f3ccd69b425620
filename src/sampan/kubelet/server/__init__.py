"""The kubelet's own HTTPS server, on port 10250: who asks (`authentication`), what they may (`authorization`), and the answers.

Source: kubernetes/pkg/kubelet/server
"""
