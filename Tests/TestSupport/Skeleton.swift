enum SkeletonTestSupport {}
