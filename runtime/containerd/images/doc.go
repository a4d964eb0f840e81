// Package images keeps images on containerd: it pulls, loads, preloads, lists,
// reads and removes them. It implements runtime.Images, and Image of
// runtime.Runtime.
//
//	Pull:    resolve --> lease --> index -> manifest -> config -> layers --> name --> lease away
//	                               (each layer is unpacked as soon as it and those below it are here)
//	Preload: archive --> lease --> blobs --> unpack --> name (with the archive's label) --> lease away
//
// # Decisions
//
//   - Whatever is fetched or unpacked is held by a lease until a name points to
//     it, and the lease is deleted synchronously: when a call has returned, the
//     garbage collector has run and nothing is left that no image needs. A lease
//     of davit's that this process does not hold was left by one that was killed
//     (or could not reach the daemon); Reap deletes it when a daemon is connected
//     to, and the first call that takes a lease does. So a pull that was cut
//     starts afresh: what it had is gone with its lease.
//   - A name is given only to an image that is whole, for this platform, and
//     unpacked. A damaged or lying source takes nothing away.
//   - Pulls of a process share: a blob is fetched, and a layer unpacked, by one
//     of them, while the others wait. A layer that is unpacked already, by
//     another image and perhaps from other bytes, is not fetched.
//   - One record per name that was asked for, no further ones for its digest and
//     ID as containerd's CRI makes: when a tag moves, the image before is
//     collected unless another name or a container has it.
//   - What a manifest claims is checked before it is believed: sizes, media
//     types, numbers. Digests are checked by the content store. Paths in a layer
//     are the unpacker's matter, which resolves them inside the layer's root.
//   - Addresses and data that a manifest embeds are not used.
//   - What an archive holds may be a hundred times what is read of it, and 256 MiB
//     in any case. The expansion of a single layer is not bounded, as in
//     containerd.
//
// # Identity
//
// runtime.Image.ID is the digest of the image's configuration, which is the same
// wherever the image came from. RepoDigests is what a registry calls it:
// name@digest of the index or manifest that the name was resolved to, for images
// that were pulled or asked for by digest; images of archives have none. Kubelet
// on containerd shows as a container's imageID the first of RepoDigests, and ID
// where there is none; as image, the name with a tag, and ID where there is none.
//
// # Pinned
//
// An image is pinned by containerd's label io.cri-containerd.pinned=pinned, and
// by an archive of the preload directory as long as that archive is there: it
// would come back at once. When the archive goes, the image stays and can be
// removed. A pull moves a preloaded name; the archive takes it back only when it
// changes.
//
// Out of scope: when to pull, how many at once, what to remove.
package images
