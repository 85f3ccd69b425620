"""Images from Dockerfiles, with no daemon: layers by overlayfs, RUN by the OCI runtime, a cache of every step.

dockerfile   text to instructions             ignore    .dockerignore
steps        instructions to layers           copying   COPY and ADD
layer        a directory to a layer's tar     build        one build from beginning to end
"""
