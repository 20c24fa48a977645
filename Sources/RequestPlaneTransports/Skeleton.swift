enum SkeletonRequestPlaneTransports {}
