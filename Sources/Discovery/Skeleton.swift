enum SkeletonDiscovery {}
